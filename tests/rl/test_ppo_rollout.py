"""Rollout workers: what each gives, how several become one rollout, and what happens when one is lost."""

from typing import Any

import numpy as np
import pytest
from rl.runs import plain
from rl.workers import Here

from tempomat.core import BindingError, StateError
from tempomat_rl.ppo.collect import Collector
from tempomat_rl.ppo.envs import make_envs
from tempomat_rl.ppo.making import make_learner
from tempomat_rl.ppo.normalize import Running, make_normalizer
from tempomat_rl.ppo.options import NetworkSettings
from tempomat_rl.ppo.rollout.local import Local
from tempomat_rl.ppo.rollout.merging import merged, share
from tempomat_rl.ppo.rollout.messages import Request, WorkerSpec
from tempomat_rl.ppo.rollout.pool import Pool
from tempomat_rl.ppo.rollout.source import Wanted
from tempomat_rl.ppo.rollout.transport import WorkerFailed, WorkerLost
from tempomat_rl.ppo.rollout.worker import Worker

NETWORK = NetworkSettings(policy_layers=(4,))


def spec_of(place, num_workers=2, **other):
    settings = {
        "env": "CartPole-v1",
        "env_options": {},
        "vectorize": False,
        "env_seed": 1,
        "action_seed": 2,
        "network": NETWORK,
        "normalize_observation": False,
        "normalize_reward": False,
    }
    return WorkerSpec(place=place, num_workers=num_workers, **(settings | other))


def pool_of(num_workers=2, lose=(), seed=3, **other):
    transport = Here(lambda place: spec_of(place, num_workers, **other), num_workers, lose=lose)
    spec = spec_of(0, num_workers, **other)
    envs = make_envs(spec.env, 1, seed=0, options=spec.env_options)
    learner = make_learner(envs.observation_space, envs.action_space, NETWORK, seed=seed)
    normalizer = make_normalizer(envs.observation_space, spec.normalize_observation, spec.normalize_reward)
    pool = Pool(transport, num_workers, learner, normalizer)
    pool.refresh(0)
    return pool, transport


def local_of(num_envs, **other):
    spec = spec_of(0, 1, **other)
    envs = make_envs(spec.env, num_envs, seed=spec.env_seed, vectorize=spec.vectorize)
    normalizer = make_normalizer(envs.observation_space, spec.normalize_observation, spec.normalize_reward)
    learner = make_learner(envs.observation_space, envs.action_space, NETWORK, seed=3)
    local = Local(Collector(envs, normalizer, np.random.default_rng(spec.action_seed)), learner, learner)
    local.refresh(0)
    return local


def made(source, *sizes, **values):
    """Rollouts one after the other, and the episodes that ended in them, to be compared."""
    found = []
    for length, num_envs in sizes:
        source.request(Wanted(length=length, num_envs=num_envs, **values))
        one = source.receive()
        found.append(told(one.rollout) | {"version": one.version, "episodes": [tuple(each) for each in one.episodes]})
    return found


def told(rollout):
    return {name: plain(getattr(rollout, name)) for name in rollout.__dataclass_fields__}


@pytest.mark.parametrize("vectorize", [True, False])
def test_one_worker_gives_what_this_process_does(vectorize):
    sizes = [(30, 3)] * 3
    pool, _ = pool_of(1, vectorize=vectorize)
    assert made(pool, *sizes, noise=0.1) == made(local_of(3, vectorize=vectorize), *sizes, noise=0.1)


@pytest.mark.parametrize("lose", [[(0, 1)], [(1, 2)], [(0, 2), (1, 2)], [(1, 3), (1, 4)], [(0, 1), (0, 2), (1, 3)]])
def test_a_worker_that_is_lost_at_any_moment_changes_no_number(lose):
    sizes = [(25, 3)] * 4
    values = {"normalize_observation": True, "normalize_reward": True}
    whole, _ = pool_of(**values)
    broken, transport = pool_of(lose=lose, **values)
    assert made(broken, *sizes) == made(whole, *sizes)
    assert plain(broken.state_dict()) == plain(whole.state_dict())
    news = broken.take_news()
    assert [one["event"] for one in news] == ["worker_replaced"] * len(lose)
    assert {one["place"] for one in news} == {place for place, _ in lose}
    assert {one["why"] for one in news} == {"lost by the test"}
    assert not broken.take_news()
    assert not transport.closed


def test_a_worker_that_is_lost_again_and_again_with_one_request_is_given_up():
    pool, _ = pool_of(lose=[(1, 2), (1, 3), (1, 4)])
    made(pool, (5, 2))
    pool.request(Wanted(length=5, num_envs=2))
    with pytest.raises(WorkerLost, match=r"rollout worker 1: lost 3 times in a row with the same request, at"):
        pool.receive()


def test_losses_of_different_requests_are_not_added_up():
    pool, _ = pool_of(lose=[(0, 1), (0, 2), (0, 4), (0, 5), (0, 8), (0, 9)])
    assert len(made(pool, *[(5, 2)] * 3)) == 3
    assert len(pool.take_news()) == 6


def test_a_loss_that_is_noticed_at_sending_is_made_good_at_receiving():
    pool, transport = pool_of()
    expected = made(pool_of()[0], *[(9, 2)] * 2)
    first = made(pool, (9, 2))
    send, gone = transport.send, [1]

    def sending(place, message):
        if place in gone:
            gone.remove(place)
            raise WorkerLost(place, "gone before")
        send(place, message)

    transport.send = sending
    assert first + made(pool, (9, 2)) == expected
    assert [one["why"] for one in pool.take_news()] == ["gone before"]


def test_environments_that_cannot_be_brought_back_begin_anew_and_the_event_says_so():
    pool, _ = pool_of(env="rl.workers:Wandering-v0", lose=[(1, 2)])
    made(pool, (5, 4))
    (found,) = made(pool, (8, 4))
    (event,) = pool.take_news()
    assert event["episodes_lost"] == 2
    assert event["because"].startswith("environment 1: the same seed and 5 actions led elsewhere")
    places = np.frombuffer(found["terminated_TN"][2], bool).reshape(8, 4).any(axis=0)
    assert places.tolist() == [True, False, True, False]  # 11 steps are an episode: 5 and 8, or 8 of a new one


def test_an_episode_that_is_begun_anew_is_the_next_one_of_its_environment():
    envs, others = (make_envs("CartPole-v1", 2, seed=4, vectorize=False) for _ in range(2))
    envs.reset()
    envs.step(np.ones(2, np.int64))
    anew: Any = others.begin_anew(envs.state_dict())
    waiting = {0, 1}
    while waiting:
        step: Any = envs.step(np.ones(2, np.int64))
        for place in waiting & set(np.flatnonzero(step.terminated_N).tolist()):
            np.testing.assert_array_equal(step.observation[place], anew[place])
            waiting.remove(place)


def test_a_state_of_another_kind_of_environments_is_an_error_in_any_case():
    worker = Worker(spec_of(0, vectorize=True))
    request = {"gamma": 1.0, "noise": 0.0, "keep_ends": False, "version": 0, "statistics": {}}
    weights = pool_of()[0]._weights
    worker.fulfil(Request(length=3, num_envs=2, weights=weights, **request))
    with pytest.raises(StateError, match=r"environments: were saved by another kind\. Give the same num_envs, env and"):
        Worker(spec_of(0, vectorize=False)).load_state(worker.state_dict())


def test_on_a_resume_environments_that_cannot_be_brought_back_are_an_error():
    pool, _ = pool_of(env="rl.workers:Wandering-v0")
    made(pool, (5, 2))
    with pytest.raises(StateError, match=r"environment 0: the same seed and 5 actions led elsewhere"):
        pool_of(env="rl.workers:Wandering-v0")[0].load_state_dict(pool.state_dict())


def test_an_environment_that_raises_is_reported_and_its_worker_not_replaced():
    options = {"at": 3, "trouble": "raises"}
    pool, transport = pool_of(env="rl.workers:Troubled-v0", env_options=options)
    pool.request(Wanted(length=5, num_envs=2))
    with pytest.raises(WorkerFailed, match=r"worker 0: ZeroDivisionError: no such place\nTraceback[^$]*in step"):
        pool.receive()
    assert not pool.take_news()
    assert len(transport.messages) == 2


def test_a_pending_request_is_part_of_the_state_and_fulfilled_again():
    whole, _ = pool_of()
    expected = made(whole, *[(20, 3)] * 3)
    pool, _ = pool_of()
    first = made(pool, (20, 3))
    pool.request(Wanted(length=20, num_envs=3))
    state = pool.state_dict()
    other, transport = pool_of(seed=99)
    other.load_state_dict(state)
    assert other.pending
    assert pool.pending
    second = other.receive()
    assert first == expected[:1]
    assert told(second.rollout).items() <= expected[1].items()
    assert made(other, (20, 3)) == expected[2:]
    assert [name for place, name, _ in transport.messages if place == 0] == ["load", "fulfil", "fulfil"]


def test_a_worker_that_is_lost_while_it_is_brought_back_for_a_resume_is_replaced():
    pool, _ = pool_of()
    whole = made(pool, *[(20, 3)] * 2)
    again, _ = pool_of(lose=[(0, 1), (1, 1)])
    fresh, _ = pool_of()
    assert made(fresh, (20, 3)) == whole[:1]
    again.load_state_dict(fresh.state_dict())
    assert made(again, (20, 3)) == whole[1:]
    assert len(again.take_news()) == 2


def test_another_number_of_workers_or_another_kind_of_source_is_refused():
    state = pool_of(2)[0].state_dict()
    with pytest.raises(StateError, match=r"are of 2 workers, and there are 3 now\. Give the same num_workers"):
        pool_of(3)[0].load_state_dict(state)
    with pytest.raises(StateError, match=r"rollouts: must hold actor, collector, and do not\. Give the same rollout="):
        local_of(2).load_state_dict(state)
    with pytest.raises(StateError, match=r"rollouts: must hold normalizer, weights, workers, and do not"):
        pool_of(2)[0].load_state_dict(local_of(2).state_dict())


@pytest.mark.parametrize("source", [lambda: pool_of()[0], lambda: local_of(2)], ids=["pool", "local"])
def test_rollouts_are_requested_and_received_in_turn(source):
    one = source()
    with pytest.raises(BindingError, match=r"rollout: must be requested before it is received, and nobody did"):
        one.receive()
    one.request(Wanted(length=2, num_envs=2))
    with pytest.raises(BindingError, match=r"rollout: must be received before the next one is requested"):
        one.request(Wanted(length=2, num_envs=2))


def test_weights_travel_once_for_each_version():
    pool, transport = pool_of()
    made(pool, *[(4, 2)] * 2)
    pool.refresh(5)
    found = made(pool, *[(4, 2)] * 2)
    sent = [(request.version, request.weights is not None) for place, _, request in transport.messages if place == 1]
    assert sent == [(0, True), (0, False), (5, True), (5, False)]
    assert [one["version"] for one in found] == [5, 5]


def test_a_request_acts_with_the_weights_of_its_time():
    pool, transport = pool_of(1)
    same = pool_of(1)[0]
    pool.request(Wanted(length=9, num_envs=2))
    pool._learner.load_state_dict(pool_of(1, seed=8)[0]._learner.state_dict())
    transport.answers.clear()
    transport.lose = {(0, 1)}  # the answer is made after the learner has other weights
    one, other = pool.receive(), made(same, (9, 2))
    assert told(one.rollout).items() <= other[0].items()


def test_a_worker_without_the_weights_that_are_wanted_says_so():
    request = Request(
        length=3, num_envs=1, gamma=1.0, noise=0.0, keep_ends=False, version=4, weights=None, statistics={}
    )
    with pytest.raises(StateError, match=r"weights: version 4 is wanted, and this worker has None"):
        Worker(spec_of(0)).fulfil(request)


def test_environments_keep_their_places_and_episodes_while_their_number_changes():
    sizes = [(7, 4), (7, 2), (7, 5), (7, 1), (7, 5)]
    for num_workers in (2, 3):
        pool, _ = pool_of(num_workers)
        rollouts = []
        for length, num_envs in sizes:
            pool.request(Wanted(length=length, num_envs=num_envs))
            rollouts.append(pool.receive().rollout)
        assert [one.reward_TN.shape for one in rollouts] == sizes
        for place in range(5):
            envs = make_envs("CartPole-v1", place + 1, seed=1, vectorize=False)
            envs.reset()
            for rollout in rollouts:
                if place < rollout.num_envs:
                    _follow(envs, rollout, place)


def _follow(envs, rollout, place):
    """The environment at this place alone, given the actions that were taken there, sees the same."""
    for t in range(rollout.length):
        seen = envs._observation[place].astype(np.float32)
        np.testing.assert_array_equal(rollout.observation_TNO[t, place], seen)
        action_N = np.zeros(envs.num_envs, np.int64)
        action_N[place] = rollout.action_TN[t, place]
        envs.step(action_N)


def test_workers_without_environments_are_not_asked():
    pool, transport = pool_of(3)
    found = made(pool, (6, 2))
    assert {place for place, _, _ in transport.messages} == {0, 1}
    assert found[0]["reward_TN"][1] == (6, 2)


def test_workers_draw_different_actions_and_computed_environments_differ():
    pool, _ = pool_of(2, vectorize=True)
    pool.request(Wanted(length=30, num_envs=2))
    rollout: Any = pool.receive().rollout
    assert (rollout.observation_TNO[0, 0] != rollout.observation_TNO[0, 1]).all()
    assert (rollout.action_TN[:, 0] != rollout.action_TN[:, 1]).any()


def test_ends_are_told_at_the_places_of_the_whole():
    envs = make_envs("Pendulum-v1", 1, seed=0)
    pool, _ = pool_of(2, env="Pendulum-v1")
    pool._learner = make_learner(envs.observation_space, envs.action_space, NETWORK, seed=1)
    pool.refresh(0)
    pool.request(Wanted(length=210, num_envs=3, keep_ends=True))
    rollout: Any = pool.receive().rollout
    assert sorted(rollout.ends.place_K2.tolist()) == np.argwhere(rollout.truncated_TN).tolist()
    for (t, n), seen in zip(rollout.ends.place_K2, rollout.ends.final_KO, strict=True):
        value = pool._learner.value(seen[None])[0]
        np.testing.assert_allclose(value, rollout.final_value_TN[t, n], rtol=1e-5)
    np.testing.assert_allclose(pool._learner.value(rollout.ends.last_NO), rollout.last_value_N, rtol=1e-5)


def test_shares_are_those_of_the_places():
    for num_workers in range(1, 5):
        for num_envs in range(1, 9):
            shares = [share(place, num_envs, num_workers) for place in range(num_workers)]
            assert sum(shares) == num_envs
            assert max(shares) - min(shares) <= 1


def test_a_rollout_of_one_worker_is_left_as_it_is():
    local = local_of(2)
    local.request(Wanted(length=3, num_envs=2))
    rollout = local.receive().rollout
    assert merged([rollout]) is rollout


def test_statistics_of_several_are_those_of_all_samples_together():
    rng = np.random.default_rng(0)
    parts = [rng.normal(5.0, 2.0, (size, 3)) for size in (1, 40, 7)]
    apart, together = Running((3,)), Running((3,))
    for part in parts:
        news = Running((3,), 0)
        news.update(part)
        apart.merge(news.state_dict())
        together.update(part)
    apart.merge(Running((3,), 0).state_dict())
    assert apart.count == together.count
    np.testing.assert_allclose(apart.mean, together.mean, rtol=1e-12)
    np.testing.assert_allclose(apart.var, together.var, rtol=1e-12)


def test_a_worker_scales_by_the_runs_statistics():
    request = {"gamma": 1.0, "noise": 0.0, "keep_ends": False, "version": 0, "weights": pool_of()[0]._weights}
    seen = []
    for deviation in (1.0, 2.0):
        statistics = {"observation ": {"mean": np.zeros(4), "var": np.full(4, deviation**2), "count": 1e12}}
        worker = Worker(spec_of(0, normalize_observation=True))
        reply: Any = worker.fulfil(Request(length=1, num_envs=2, statistics=statistics, **request))
        seen.append(reply.rollout.observation_TNO[0])
    np.testing.assert_allclose(seen[0], 2.0 * seen[1], rtol=1e-6)


def test_the_runs_normalizer_takes_in_what_every_worker_has_seen_once():
    pool, transport = pool_of(2, normalize_observation=True, normalize_reward=True)
    made(pool, (10, 5), (10, 5))
    statistics = pool.normalizer.statistics
    assert statistics["return"]["count"] == pytest.approx(100, abs=1e-3)
    assert statistics["observation "]["count"] == pytest.approx(105, abs=1e-3)  # 5 first ones besides
    one, other = (request.statistics for place, _, request in transport.messages if place == 0)
    assert one["return"]["count"] == pytest.approx(0, abs=1e-3)
    assert other["return"]["count"] == pytest.approx(50, abs=1e-3)
