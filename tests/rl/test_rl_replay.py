"""The replay against plain loops over whole histories, and what a crash, a flipped bit or a resume leaves of it."""

import contextlib
import copy
import math
import re

import numpy as np
import pytest
import torch
from rl.crashes import Crash, crashing

from tempomat.core import RecordError, StateError
from tempomat_rl import segments
from tempomat_rl.frames import Frame, FrameSpec
from tempomat_rl.replay import FrameStack, Replay, ReplayError

DISCOUNT = 0.9
SPEC = FrameSpec((2, 3, 4), 2)


class Stream:
    """Environments whose frames are numbered, with everything that ever happened kept in lists."""

    def __init__(self, num_envs=3, spec=SPEC, seed=0, ends=0.15):
        self.num_envs, self.spec, self.ends = num_envs, spec, ends
        self.rng = np.random.default_rng(seed)
        self.rows = []
        self.ended = np.zeros(num_envs, bool)

    def frame(self):
        """Frame `number` has that number in its state, and in its image byte by byte."""
        number_n = len(self.rows) * self.num_envs + np.arange(self.num_envs)
        state = np.repeat(number_n[:, None], self.spec.state, axis=1).astype(np.float32)
        if self.spec.image is None:
            return Frame(None, state)
        return Frame(np.stack([self.picture(number) for number in number_n]), state)

    def picture(self, number):
        """An image that shows the frame's number."""
        assert self.spec.image is not None
        return (np.arange(math.prod(self.spec.image)) * 7 + number * 31).reshape(self.spec.image).astype(np.uint8)

    def begin(self, replay):
        replay.add(self.frame())
        never = np.zeros(self.num_envs, bool)
        self.rows.append((np.zeros((self.num_envs, 2)), np.zeros(self.num_envs), never, ~never))
        self.ended = never

    def go(self, replay, steps):
        for _ in range(steps):
            first = self.ended
            action = self.rng.uniform(-1, 1, (self.num_envs, 2)).astype(np.float32)
            reward = np.where(first, 0.0, self.rng.normal(size=self.num_envs))
            terminated = ~first & (self.rng.random(self.num_envs) < self.ends)
            truncated = ~first & ~terminated & (self.rng.random(self.num_envs) < self.ends)
            replay.append(self.frame(), action, reward, terminated, truncated, first)
            self.rows.append((action, reward, terminated, first))
            self.ended = terminated | truncated
        return replay

    def transitions(self, frame_stack, n_step, begin):
        """From a frame's number to what a transition from there must hold."""
        return {
            row * self.num_envs + env: found
            for env in range(self.num_envs)
            for row in range(begin, len(self.rows) - n_step)
            if (found := self.transition(row, env, frame_stack, n_step, begin))
        }

    def transition(self, row, env, frame_stack, n_step, begin):
        total, discount, steps = 0.0, 1.0, 0
        for _, reward, terminated, first in self.rows[row + 1 : row + 1 + n_step]:
            if first[env]:
                break
            total, discount, steps = total + discount * reward[env], discount * DISCOUNT, steps + 1
            if terminated[env]:
                discount = 0.0
        stacked = [self.stacked(one, env, frame_stack) for one in (row, row + steps)]
        if not steps or min(stacked[0]) < begin * self.num_envs:
            return None
        return *stacked, self.rows[row + 1][0][env], total, discount

    def stacked(self, row, env, frame_stack):
        numbers = [row * self.num_envs + env]
        while len(numbers) < frame_stack:
            if not self.rows[row][3][env]:
                row -= 1
            numbers.insert(0, row * self.num_envs + env)
        return numbers


def make(num_envs=3, *, spec=SPEC, frame_stack=3, capacity=90, n_step=3, seed=1):
    return Replay(spec, frame_stack, num_envs, 2, capacity=capacity, n_step=n_step, discount=DISCOUNT, seed=seed)


def filled(steps, stream=None, **options):
    replay, stream = make(**options), stream or Stream(options.get("num_envs", 3), options.get("spec", SPEC))
    stream.begin(replay)
    return stream.go(replay, steps), stream


def drawn(replay, count=4_000):
    """Every transition that was drawn, by the number of the frame it begins at."""
    batch = replay.sample(count)
    observation, following = batch.observation, batch.next_observation
    found = {}
    for n in range(count):
        one = (
            observation.state_BFK[n, :, 0].tolist(),
            following.state_BFK[n, :, 0].tolist(),
            batch.action_BA[n].numpy(),
            batch.reward_B[n].item(),
            batch.discount_B[n].item(),
        )
        found[int(one[0][-1])] = one
    return found


def images(observation):
    assert observation.image_BFCHW is not None
    return observation.image_BFCHW


def copied(batch):
    """A batch's tensors outside of the buffers; those that there are."""
    tensors = [*batch.observation, batch.action_BA, batch.reward_B, batch.discount_B, *batch.next_observation]
    return [one.clone() for one in tensors if one is not None]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("frame_stack", [1, 3])
@pytest.mark.parametrize("n_step", [1, 3, 5])
@pytest.mark.parametrize("steps", [11, 29, 30, 31, 100])
def test_the_transitions_are_those_of_a_loop_over_the_whole_history_and_none_is_missing(frame_stack, n_step, steps):
    replay, stream = filled(steps, frame_stack=frame_stack, n_step=n_step)
    expected = stream.transitions(frame_stack, n_step, begin=max(0, steps + 1 - 30))
    found = drawn(replay)
    assert found.keys() == expected.keys()
    for number, (stacked, following, action, reward, discount) in expected.items():
        got = found[number]
        assert got[:2] == (stacked, following)
        assert np.array_equal(got[2], action)
        # rewards are summed in float64 and rounded to float32 once
        assert got[3:] == pytest.approx((reward, discount), rel=2**-23, abs=0)


def test_images_are_stacked_channels_over_frames_like_the_states():
    replay, stream = filled(60)
    batch = replay.sample(64)
    assert images(batch.observation).shape == (64, 6, 3, 4)
    for observation in (batch.observation, batch.next_observation):
        for image, state in zip(images(observation), observation.state_BFK, strict=True):
            pictures = np.concatenate([stream.picture(int(number)) for number in state[:, 0]])
            assert np.array_equal(image.numpy(), pictures)


def test_images_whose_size_no_wide_number_divides_are_the_same_bytes():
    spec = FrameSpec((1, 3, 3), 1)
    replay, stream = filled(40, spec=spec)
    batch = replay.sample(16)
    for image, state in zip(images(batch.observation), batch.observation.state_BFK, strict=True):
        assert np.array_equal(image.numpy(), np.concatenate([stream.picture(int(n)) for n in state[:, 0]]))


def test_every_start_is_equally_likely():
    replay, stream = filled(100)
    starts = len(stream.transitions(3, 3, begin=71))
    numbers = torch.cat([replay.sample(1_000).observation.state_BFK[:, -1, 0].clone() for _ in range(starts)])
    counts = np.unique(numbers.numpy(), return_counts=True)[1]
    # 1 000 of each are expected, with a deviation of 32
    assert len(counts) == starts
    assert counts.min() > 850
    assert counts.max() < 1_150


def test_a_replay_with_one_possible_start_among_many_places_gives_that_one():
    replay, stream = make(1, capacity=500), Stream(1, ends=0.0)
    for _ in range(400):
        stream.begin(replay)
    stream.go(replay, 3)
    assert set(replay.sample(5).observation.state_BFK[:, -1, 0].tolist()) == {399.0}


def test_an_episode_that_is_abandoned_bootstraps_from_its_last_frame():
    stream, replay = Stream(1, ends=0.0), make(1, n_step=3)
    stream.begin(replay)
    stream.go(replay, 2)
    stream.begin(replay)
    stream.go(replay, 3)
    stacked, following, _, _, discount = drawn(replay, 100)[1]
    assert (stacked, following) == ([0, 0, 1], [0, 1, 2])
    assert discount == pytest.approx(DISCOUNT, rel=2**-23, abs=0)


def test_nothing_is_drawn_before_a_window_is_complete():
    replay, stream = make(n_step=3), Stream(ends=0.0)
    stream.begin(replay)
    stream.go(replay, 2)
    assert not replay.ready
    with pytest.raises(ReplayError, match="no transition is complete after 6 env steps"):
        replay.sample(4)
    stream.go(replay, 1)
    assert replay.ready
    assert drawn(replay, 50).keys() == {0, 1, 2}


def test_what_is_drawn_is_overwritten_by_the_next_draw_of_its_size_and_by_no_other():
    replay, _ = filled(60)
    batch = replay.sample(32)
    before = copied(batch)
    replay.sample(16)
    assert same(copied(batch), before)
    first = replay.sample(8)
    assert replay.sample(8).reward_B.data_ptr() == first.reward_B.data_ptr()


def test_length_counts_env_steps_and_not_the_frames_after_a_reset():
    replay, stream = filled(20)
    assert len(replay) == sum(int((~first).sum()) for *_, first in stream.rows)
    stream.go(replay, 80)
    assert len(replay) == sum(int((~first).sum()) for *_, first in stream.rows[-30:])


def test_the_memory_said_at_start_is_the_ring_s():
    replay = make(4, capacity=1_001, spec=FrameSpec((3, 84, 84), 11))
    frame = 3 * 84 * 84 + 4 * 11 + 4 * 2 + 8 + 4
    assert replay.memory == 1_004 * frame
    assert replay.describe() == "replay: 1,004 frames of 4 environments, 21.3 MB when full, 100% of it images"
    assert "images" not in make(spec=FrameSpec(None, 4)).describe()


def test_a_frame_stack_gives_what_is_drawn_later():
    stream, replay, stack = Stream(), make(capacity=900), FrameStack(SPEC, 3, 3)
    frame, pushed = stream.frame(), []
    stream.begin(replay)
    pushed.append(stack.push(frame))
    for _ in range(50):
        frame, first = stream.frame(), stream.ended
        stream.go(replay, 1)
        pushed.append(stack.push(frame, first))
    batch = replay.sample(64)
    for n, number in enumerate(batch.observation.state_BFK[:, -1, 0].int().tolist()):
        acted_on = pushed[number // 3]
        assert torch.equal(batch.observation.state_BFK[n], acted_on.state_BFK[number % 3])
        assert torch.equal(images(batch.observation)[n], images(acted_on)[number % 3])


def test_a_frame_stack_goes_on_from_its_state():
    stack, other, stream = FrameStack(SPEC, 3, 3), FrameStack(SPEC, 3, 3), Stream()
    stack.push(stream.frame())
    stream.begin(make())
    stack.push(stream.frame(), np.zeros(3, bool))
    other.load_state_dict(stack.state_dict())
    assert torch.equal(images(stack.observation), images(other.observation))
    assert torch.equal(stack.observation.state_BFK, other.observation.state_BFK)
    with pytest.raises(StateError, match=r"frame stack: 2 faults\n  image: must have shape \(3, 2, 2, 3, 4\)"):
        FrameStack(SPEC, 2, 3).load_state_dict(stack.state_dict())
    with pytest.raises(StateError, match=r"must have image and state, got \['state'\]"):
        stack.load_state_dict({"state": None})


GOOD = {"frame_stack": 3, "num_envs": 2, "action_size": 2, "capacity": 90, "n_step": 3, "discount": 0.9}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("frame_stack", 257, "frame_stack: must be an integer from 1 to 256, got 257."),
        ("num_envs", 0, "num_envs: must be an integer from 1, got 0."),
        ("action_size", True, "action_size: must be an integer from 1, got True."),
        ("capacity", 1e5, "capacity: must be an integer from 1, got 100000.0."),
        ("capacity", 10, "capacity: must be at least 12 for 2 environments, got 10."),
        ("n_step", -1, "n_step: must be an integer from 1, got -1."),
        ("discount", 1.5, "discount: must be in (0, 1], got 1.5."),
        ("discount", float("nan"), "discount: must be in (0, 1], got nan."),
    ],
)
def test_an_argument_out_of_range_is_refused_by_its_name(name, value, said):
    arguments = GOOD | {name: value}
    stack, envs, size = (arguments.pop(one) for one in ("frame_stack", "num_envs", "action_size"))
    with pytest.raises(ReplayError, match=re.escape(said)):
        Replay(SPEC, stack, envs, size, **arguments)


def test_a_ring_that_no_memory_holds_is_refused():
    with pytest.raises(ReplayError, match=r"of memory cannot be had\. Make `capacity` smaller"):
        make(capacity=10**17)
    with pytest.raises(ReplayError, match=r"of memory cannot be had\. Make `capacity` smaller"):
        make(capacity=10**19)


STEP = {
    "image": np.zeros((3, *(SPEC.image or ())), np.uint8),
    "state": np.zeros((3, 2)),
    "action": np.zeros((3, 2)),
    "reward": np.zeros(3),
    "terminated": np.zeros(3, bool),
    "truncated": np.zeros(3, bool),
}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("image", None, "image: must be (3, 2, 3, 4) of uint8, got () of NoneType."),
        ("image", STEP["image"][0], "image: must be (3, 2, 3, 4) of uint8, got (2, 3, 4) of uint8."),
        ("image", STEP["image"] / 255, "image: must be (3, 2, 3, 4) of uint8, got (3, 2, 3, 4) of float64."),
        ("state", np.zeros(2), "state: must be (3, 2), got (2,) of float64."),
        ("action", np.zeros(2), "action: must be (3, 2), got (2,) of float64."),
        ("reward", 0.0, "reward: must be (3,), got () of float."),
        ("terminated", False, "terminated: must be (3,), got () of bool."),
        ("truncated", np.zeros(1, bool), "truncated: must be (3,), got (1,) of bool."),
    ],
)
def test_a_step_of_another_shape_or_type_is_refused_and_changes_nothing(name, value, said):
    replay, stream = filled(40, Stream(ends=0.0))
    twin, _ = filled(40, Stream(ends=0.0))
    image, state, action, reward, terminated, truncated = (STEP | {name: value}).values()
    with pytest.raises(ReplayError, match=re.escape(said)):
        replay.append(Frame(image, state), action, reward, terminated, truncated, stream.ended)
    assert same(copied(replay.sample(200)), copied(twin.sample(200)))


def test_a_batch_of_none_is_refused():
    with pytest.raises(ReplayError, match="`batch_size` must be at least 1, got 0"):
        filled(20)[0].sample(0)


def test_a_step_before_the_first_frames_is_refused():
    with pytest.raises(ReplayError, match="Call `add` after the reset"):
        Stream().go(make(), 1)


def test_environments_that_reset_themselves_at_the_step_that_ends_are_refused():
    replay, stream, no = make(), Stream(), np.zeros(3, bool)
    stream.begin(replay)
    ends = np.array([False, True, False])
    replay.append(stream.frame(), np.zeros((3, 2)), np.zeros(3), ends, no, no)
    with pytest.raises(ReplayError, match=r"it is not in environments \[1\]"):
        replay.append(stream.frame(), np.zeros((3, 2)), np.zeros(3), no, no, no)


def test_a_reward_that_is_no_number_is_refused():
    replay, stream, no = make(), Stream(), np.zeros(3, bool)
    stream.begin(replay)
    with pytest.raises(ReplayError, match=r"must be finite, got \[0.0, nan, 0.0\]"):
        replay.append(stream.frame(), np.zeros((3, 2)), np.array([0.0, np.nan, 0.0]), no, no, no)
    assert len(replay) == 0


def trained(folder, *, stops, steps=80, capacity=90):
    """All batches of a run that is saved and loaded anew after these steps."""
    stream, replay, batches = Stream(), make(capacity=capacity), []
    stream.begin(replay)
    for step in range(steps):
        stream.go(replay, 1)
        if replay.ready:
            batches.append(copied(replay.sample(8)))
        if step in stops:
            state = replay.save(folder)
            replay.commit()
            replay = make(capacity=capacity, seed=99)
            replay.load(folder, state)
    return batches


def test_a_resumed_replay_draws_what_an_unbroken_one_draws(tmp_path):
    unbroken = trained(tmp_path / "none", stops=())
    broken = trained(tmp_path / "some", stops=(0, 3, 29, 30, 31, 50, 51, 79))
    assert len(unbroken) > 70
    assert all(same(one, other) for one, other in zip(unbroken, broken, strict=True))


def test_only_new_rows_are_written_and_files_outside_the_ring_go(tmp_path, monkeypatch):
    monkeypatch.setattr(segments, "MOST", 1)  # a file per row
    replay, stream = filled(20)
    replay.save(tmp_path)
    replay.commit()
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(before) == 21
    stream.go(replay, 15)
    state = replay.save(tmp_path)
    after = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(after) == 36
    assert before.items() <= after.items()
    assert [one["begin"] for one in state["segments"]] == list(range(6, 36))
    replay.commit()
    assert len(list(tmp_path.iterdir())) == 36  # the state before still needs the oldest
    replay.save(tmp_path)
    replay.commit()
    assert {path.name for path in tmp_path.iterdir()} == {one["name"] for one in state["segments"]}


def test_a_file_holds_as_many_rows_as_fit(tmp_path, monkeypatch):
    replay, _ = filled(20)
    monkeypatch.setattr(segments, "MOST", 8 * replay.memory // replay.rows)
    state = replay.save(tmp_path)
    assert [(one["begin"], one["end"]) for one in state["segments"]] == [(0, 8), (8, 16), (16, 21)]


def test_saved_into_another_folder_it_is_whole_there(tmp_path):
    replay, stream = filled(20)
    replay.save(tmp_path / "a")
    stream.go(replay, 5)
    state = replay.save(tmp_path / "b")
    other = make()
    other.load(tmp_path / "b", state)
    assert same(copied(other.sample(64)), copied(replay.sample(64)))


@pytest.mark.parametrize("capacity", [45, 300])
def test_under_another_capacity_the_newest_frames_are_kept(tmp_path, capacity):
    replay, stream = filled(40)
    state = replay.save(tmp_path)
    other = make(capacity=capacity)
    other.load(tmp_path, state)
    begin = 11 if capacity == 300 else 41 - 15
    assert drawn(other).keys() == stream.transitions(3, 3, begin=begin).keys()
    stream.go(other, 30)
    begin = 11 if capacity == 300 else 71 - 15
    assert drawn(other).keys() == stream.transitions(3, 3, begin=begin).keys()


def test_other_windows_and_stacks_are_taken_from_the_same_rows(tmp_path):
    replay, stream = filled(40)
    state = replay.save(tmp_path)
    other = make(frame_stack=5, n_step=2)
    other.load(tmp_path, state)
    expected = stream.transitions(5, 2, begin=11)
    assert {number: one[0] for number, one in drawn(other).items()} == {n: one[0] for n, one in expected.items()}


def test_a_file_that_lost_or_changed_a_byte_or_is_gone_is_noticed_and_nothing_is_drawn(tmp_path):
    replay, _ = filled(20)
    state = replay.save(tmp_path)
    path = tmp_path / state["segments"][0]["name"]
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    damages = [content[:-1], b""]
    for at in rng.integers(len(content) * 8, size=200):
        flipped = bytearray(content)
        flipped[at // 8] ^= 1 << at % 8
        damages.append(bytes(flipped))
    for damage in damages:
        path.write_bytes(damage)
        other = make()
        with pytest.raises(StateError, match=r"is damaged: it is not what was written\. Put the right file back"):
            other.load(tmp_path, state)
        assert not other.ready
    path.unlink()
    with pytest.raises(StateError, match=r"cannot be read: No such file"):
        make().load(tmp_path, state)


WRONG = {
    "a key less": (lambda state: state.pop("begin"), "the state must have action_size, begin, end"),
    "format": (lambda state: state.update(format=2), "format: must be 1"),
    "num_envs": (lambda state: state.update(num_envs=2, image=None), "replay: 2 faults"),
    "end": (lambda state: state.update(end=-1), "end: must be a row from 0 on, got -1"),
    "generator": (lambda state: state.update(generator={"state": 1}), "replay.generator: is no state"),
    "a path": (lambda state: state["segments"][0].update(name="../rows"), "each must have name, begin, end, sha256"),
    "a gap": (lambda state: state["segments"].pop(1), "must go on at row 4"),
    "no beginning": (lambda state: state["segments"].pop(0), "must begin at row 0 or before it, got 4"),
    "no end": (lambda state: state["segments"].pop(), "must end before row 21, got 20"),
    "no list": (lambda state: state.update(segments="x"), "each must have name, begin, end, sha256, got 'x'"),
    "rows of another": (lambda state: state["segments"][0].update(begin=1), "must begin at row 0"),
}


@pytest.mark.parametrize("change", WRONG)
def test_a_state_with_one_change_is_refused(tmp_path, monkeypatch, change):
    replay, _ = filled(20)
    monkeypatch.setattr(segments, "MOST", 4 * replay.memory // replay.rows)
    state = replay.save(tmp_path)
    make().load(tmp_path, state)
    wrong = copy.deepcopy(state)
    WRONG[change][0](wrong)
    with pytest.raises(StateError, match=re.escape(WRONG[change][1])):
        make().load(tmp_path, wrong)


def test_rows_of_another_shape_are_refused_though_their_checksum_is_right(tmp_path):
    replay, _ = filled(20)
    state = replay.save(tmp_path)
    state["segments"][0]["end"] = state["end"] = 22
    with pytest.raises(StateError, match=r"`action` must be \(22, 3, 2\), got \(21, 3, 2\)"):
        make().load(tmp_path, state)


def test_committing_before_saving_is_refused():
    with pytest.raises(ReplayError, match="Call `save` first"):
        make().commit()


@pytest.mark.parametrize("error", [Crash(), OSError(28, "No space left on device")])
def test_whatever_operation_fails_the_state_saved_before_loads(tmp_path, monkeypatch, error):
    monkeypatch.setattr(segments, "MOST", 1)
    for place in range(1_000):
        folder = tmp_path / str(place)
        replay, stream = filled(20)
        before = replay.save(folder)
        replay.commit()
        expected = draw_from(folder, before)
        stream.go(replay, 3)
        after = None
        with monkeypatch.context() as patch:
            left = crashing(patch, place, error)
            with contextlib.suppress(Crash, RecordError):
                after = replay.save(folder)
                replay.commit()
        assert same(draw_from(folder, before), expected)
        if after:
            assert same(draw_from(folder, after), copied(replay.sample(16)))
        if left[0] >= 0:
            break
    assert place > 10


def draw_from(folder, state):
    replay = make()
    replay.load(folder, state)
    return copied(replay.sample(16))
