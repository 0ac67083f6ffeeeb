"""Checkpoints are the old one or the new one, notice every changed bit, and give back what was put in."""

import contextlib
import io
import json
import os
import re
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from rl.crashes import OPERATIONS, Crash, crashing

from tempomat.core import RecordError, StateError
from tempomat_rl.checkpoint import Checkpoints
from tempomat_rl.packing import from_bytes, to_bytes


def checkpoints(folder, **options):
    return Checkpoints(folder, **{"last_stage": 4, **options})


def numbered(number):
    """A state of every kind that differs from every other number's."""
    generator = np.random.default_rng(number)
    weights = torch.from_numpy(generator.normal(size=(3, 2)).astype(np.float32))
    return {"number": number, "generator": generator.bit_generator.state, "agent": {"weights": weights}}


def same(one, other):
    """Equal in value, type, dtype and shape, all the way down; NaN equals NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, torch.Tensor):
        return (
            one.dtype == other.dtype
            and one.shape == other.shape
            and one.numpy(force=True).tobytes() == (other.numpy(force=True).tobytes())
        )
    if isinstance(one, np.ndarray | np.generic):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    return one == other


ARRAYS = [
    np.array([0, 2**64 - 1], np.uint64),
    np.array([[True], [False]]),
    np.arange(6, dtype=np.int16).reshape(2, 3)[:, ::2],
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.zeros((0, 3), np.uint8),
    np.array(7, ">i4"),
    np.array([np.nan, -0.0, np.inf], np.float16),
    np.array(["ab", "c"]),
    np.array(1 + 2j),
]
SCALARS = [np.float64(0.1), np.uint64(2**64 - 1), np.bool_(True), np.int8(-1), np.float32(np.nan), np.str_("x")]
PLAIN = [0, -1, 2**64, -(2**127), 2**1_999, 0.1, float("inf"), True, None, "", "grün", [], {}, (), [(1, [2, (3.5,)])]]
TENSORS = [
    torch.arange(3),
    torch.tensor(0.5),
    torch.zeros(0, 2),
    torch.tensor([True]),
    torch.tensor(2, dtype=torch.uint8),
]
VALUES = [*ARRAYS, *SCALARS, *PLAIN, *TENSORS]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_what_is_saved_comes_back_with_its_type_dtype_and_shape(tmp_path, value):
    state = {"value": value, "nested": [{"value": value, 3: value}]}
    assert same(checkpoints(tmp_path).load(checkpoints(tmp_path).save("snapshot", state)), state)


def test_generators_go_on_from_a_checkpoint_with_the_same_numbers(tmp_path):
    own, other = np.random.default_rng(5), torch.Generator().manual_seed(5)
    own.integers(9, size=3, dtype=np.uint32)
    state = {"numpy": own.bit_generator.state, "torch": other.get_state()}
    loaded = checkpoints(tmp_path).load(checkpoints(tmp_path).save("snapshot", state))
    again, torch_again = np.random.default_rng(), torch.Generator()
    again.bit_generator.state = loaded["numpy"]
    torch_again.set_state(loaded["torch"])
    assert again.normal(size=4).tolist() == own.normal(size=4).tolist()
    assert torch.equal(torch.rand(4, generator=torch_again), torch.rand(4, generator=other))


def test_a_network_and_its_optimizer_go_on_from_a_checkpoint_with_the_same_numbers(tmp_path):
    def build():
        net = torch.nn.Linear(3, 2, dtype=torch.float32)
        return net, torch.optim.Adam(net.parameters(), lr=torch.tensor(1e-2))

    def train(net, optimizer):
        net(torch.ones(1, 3)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    net, optimizer = build()
    train(net, optimizer)
    path = checkpoints(tmp_path).save("snapshot", {"net": net.state_dict(), "optimizer": optimizer.state_dict()})
    train(net, optimizer)
    other, its_optimizer = build()
    loaded = checkpoints(tmp_path).load(path)
    other.load_state_dict(loaded["net"])
    its_optimizer.load_state_dict(loaded["optimizer"])
    train(other, its_optimizer)
    assert torch.equal(net.weight, other.weight)


def test_of_a_view_only_what_it_shows_is_written():
    whole = torch.arange(100_000, dtype=torch.float64)
    assert len(to_bytes({"view": whole[:10]})) < 5_000
    assert same(from_bytes(to_bytes({"view": whole[10:20]})), {"view": whole[10:20].clone()})


def test_parameters_come_back_as_tensors_and_ordered_dicts_as_dicts():
    loaded = from_bytes(to_bytes(OrderedDict(weight=torch.nn.Parameter(torch.ones(2)))))
    assert type(loaded) is dict
    assert type(loaded["weight"]) is torch.Tensor
    assert not loaded["weight"].requires_grad


def test_the_file_is_an_archive_that_torch_loads_without_running_code(tmp_path):
    path = checkpoints(tmp_path).save("stage_2", {"a": torch.arange(3), "big": 2**100})
    loaded = torch.load(path, weights_only=True)
    assert same(loaded, {"format": 1, "kind": "stage_2", "state": {"a": torch.arange(3), "big": 2**100}})
    assert zipfile.ZipFile(path).testzip() is None


UNFIT = [
    ({"a": {"b": [1, object]}}, "a.b[1]: must be plain data, an array or a tensor, got <class 'object'>"),
    ({"a": {1, 2}}, "a: must be plain data, an array or a tensor, got {1, 2}"),
    ({"a": b"x"}, "a: must be plain data"),
    ({"a": {None: 1}}, "a: a key must be a string or an integer, got None"),
    ({"a": {True: 1}}, "a: a key must be a string or an integer, got True"),
    ({"a": np.array([None])}, "a: must be an array of numbers, got one of object"),
    ({"a": np.zeros(1, [("x", "i4")])}, "a: must be an array of numbers"),
    ({"a": torch.eye(2).to_sparse()}, "a: must be a dense tensor, got Tensor of torch.sparse_coo"),
    ({"a": 2**2_001}, "a: must be plain data"),
    ({"a": {"__numpy__": 1}}, "a: must be plain data"),
    ({"a": object, "b": object}, "checkpoint: 2 faults"),
]


@pytest.mark.parametrize(("state", "said"), UNFIT, ids=range(len(UNFIT)))
def test_what_cannot_be_loaded_without_running_code_is_not_saved(tmp_path, state, said):
    with pytest.raises(StateError, match=re.escape(said)):
        checkpoints(tmp_path).save("snapshot", state)
    assert not list(tmp_path.iterdir())


def test_a_state_that_holds_itself_is_refused():
    state: dict = {}
    state["self"] = state
    with pytest.raises(StateError, match="must be at most 32 levels deep"):
        to_bytes(state)


def test_every_flipped_bit_is_noticed():
    content = to_bytes(numbered(1))
    assert same(from_bytes(content), numbered(1))
    for bit in [*range(0, 8 * len(content), 97), *range(8 * (len(content) - 90), 8 * len(content))]:
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(StateError, match=r"is damaged|is cut short"):
            from_bytes(bytes(flipped))


def test_every_truncation_is_noticed():
    content = to_bytes(numbered(1))
    for length in [*range(0, len(content), 13), *range(len(content) - 100, len(content))]:
        with pytest.raises(StateError, match=r"is damaged|is cut short"):
            from_bytes(content[:length])


def test_code_in_a_file_is_not_run_even_if_its_checksum_is_right(tmp_path):
    from tempomat_rl import packing

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "evil"),)

    buffer = io.BytesIO()
    torch.save({"format": 1, "kind": "snapshot", "state": Evil()}, buffer)
    path = tmp_path / "snapshot.pt"
    path.write_bytes(packing._sealed(buffer.getvalue()))
    with pytest.raises(StateError, match="holds more than plain data and tensors"):
        checkpoints(tmp_path).load(path)
    assert not (tmp_path / "evil").exists()


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_the_newest_intact_one_is_the_snapshot_then_the_one_before_then_the_best_then_the_stages(tmp_path):
    kept = checkpoints(tmp_path)
    assert kept.newest_intact() is None
    for number, stage in enumerate((2, 10)):
        kept.save(f"stage_{stage}", numbered(number))
    kept.save("stage_2", numbered(2))
    for number, (stage, rate) in enumerate([(1, 0.99), (3, 0.85), (3, 0.9)], start=3):
        kept.save_best(stage, rate, numbered(number), env_steps=100)
    kept.save("snapshot", numbered(6))
    kept.save("snapshot", numbered(7))
    order = [
        ("snapshot.pt", "snapshot", 7),
        ("snapshot.previous.pt", "snapshot", 6),
        ("best_stage_3_0.9000_100.pt", "best", 5),
        ("best_stage_3_0.8500_100.pt", "best", 4),
        ("best_stage_1_0.9900_100.pt", "best", 3),
        ("stage_10.pt", "stage_10", 1),
        ("stage_2.pt", "stage_2", 2),
        ("stage_2.previous.pt", "stage_2", 0),
    ]
    for passed, (name, kind, number) in enumerate(order):
        found = checkpoints(tmp_path).newest_intact()
        assert found is not None
        assert (found.path.name, found.kind, found.state["number"]) == (name, kind, number)
        assert found.skipped == tuple(
            f"{tmp_path / one[0]}: is damaged: its bytes are not those that were written." for one in order[:passed]
        )
        damage(tmp_path / name)
    with pytest.raises(StateError, match=r"no checkpoint is intact\.\n  .*snapshot.pt: is damaged"):
        kept.newest_intact()


def test_a_damaged_snapshot_does_not_take_the_intact_one_s_place(tmp_path):
    for number in range(2):
        checkpoints(tmp_path).save("snapshot", numbered(number))
    damage(tmp_path / "snapshot.pt")
    checkpoints(tmp_path).save("snapshot", numbered(2))
    assert checkpoints(tmp_path).load(tmp_path / "snapshot.pt")["number"] == 2
    assert checkpoints(tmp_path).load(tmp_path / "snapshot.previous.pt")["number"] == 0


def test_swapped_files_are_noticed(tmp_path):
    kept = checkpoints(tmp_path)
    kept.save("stage_1", numbered(1)).rename(tmp_path / "stage_2.pt")
    with pytest.raises(StateError, match=r"stage_2.pt: holds 'stage_1', saved under that name. Rename it back"):
        kept.load(tmp_path / "stage_2.pt")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"format": 2, "kind": "snapshot", "state": {}}, "has format 2; this version reads 1"),
        ({"format": 1, "kind": "snapshot"}, "is no checkpoint of this program"),
        ([1], "is no checkpoint of this program"),
    ],
)
def test_a_file_that_is_no_checkpoint_of_this_version_is_refused(tmp_path, content, said):
    path = tmp_path / "snapshot.pt"
    path.write_bytes(to_bytes(content))
    with pytest.raises(StateError, match=f"snapshot.pt: {said}"):
        checkpoints(tmp_path).load(path)


def test_a_file_that_is_not_there_is_said_to_be_so(tmp_path):
    with pytest.raises(StateError, match=r"snapshot\.pt: cannot be read: No such file"):
        checkpoints(tmp_path).load(tmp_path / "snapshot.pt")


@pytest.mark.parametrize("kind", ["stage_01", "stage_", "best", "../snapshot", "snapshot.previous"])
def test_another_kind_is_refused(tmp_path, kind):
    with pytest.raises(StateError, match="the kind must be snapshot or stage_N, got"):
        checkpoints(tmp_path).save(kind, {})


def best_of(folder):
    return sorted(path.name for path in folder.glob("best_stage_*"))


def test_the_best_three_of_a_stage_stay_and_of_equals_the_older(tmp_path):
    kept, saved = checkpoints(tmp_path), []
    for env_steps, rate in enumerate([0.79, 0.81, 0.80, 0.95, 0.80, 0.81, 0.9, 0.95, 0.85, 1.01, float("nan")]):
        assert kept.would_keep(2, rate) == (kept.save_best(2, rate, {}, env_steps=env_steps) is not None)
        saved.append(best_of(tmp_path))
    names = {n: f"best_stage_2_{rate:.4f}_{n}.pt" for n, rate in [(1, 0.81), (2, 0.8), (3, 0.95), (5, 0.81)]}
    assert saved[0] == []
    assert saved[4] == sorted(names[n] for n in (1, 2, 3))
    assert saved[5] == sorted(names[n] for n in (1, 3, 5))
    final = ["best_stage_2_0.9500_3.pt", "best_stage_2_0.9500_7.pt", "best_stage_2_0.9000_6.pt"]
    assert saved[-1] == sorted(final)
    index = json.loads((tmp_path / "best_checkpoints.json").read_text())
    assert [one["file"] for one in index["best"]] == final
    assert index["best"][2] == {"file": final[2], "stage": 2, "success_rate": 0.9, "env_steps": 6}


def test_of_the_last_stage_eight_stay_and_stages_do_not_compete(tmp_path):
    kept = checkpoints(tmp_path)
    for n in range(12):
        kept.save_best(4, 0.85 + n / 100, {}, env_steps=n)
        kept.save_best(0, 0.8, {}, env_steps=n)
    assert best_of(tmp_path) == sorted(
        [f"best_stage_4_{0.85 + n / 100:.4f}_{n}.pt" for n in range(4, 12)]
        + [f"best_stage_0_0.8000_{n}.pt" for n in range(3)]
    )


def test_where_fewer_may_stay_than_there_are_the_worst_go(tmp_path):
    for n in range(6):
        checkpoints(tmp_path).save_best(4, 0.9 - n / 100, {}, env_steps=n)
    few = checkpoints(tmp_path, keep_last=2)
    assert not few.would_keep(4, 0.88)
    assert few.save_best(4, 0.95, {}, env_steps=9) is not None
    assert best_of(tmp_path) == ["best_stage_4_0.9000_0.pt", "best_stage_4_0.9500_9.pt"]


def test_keeping_none_is_refused(tmp_path):
    with pytest.raises(StateError, match="must be at least 1, got 0 and 8"):
        checkpoints(tmp_path, keep=0)


def failing(leave):
    """The operations that fail; with `leave` nothing can be cleaned up either."""
    return [name for name in OPERATIONS if leave or name != "unlink"]


@pytest.mark.parametrize("leave", [False, True])
@pytest.mark.parametrize("error", [Crash(), OSError(28, "No space left on device")])
def test_whatever_operation_fails_the_old_snapshot_or_the_new_one_loads(tmp_path, monkeypatch, error, leave):
    seen = []
    for place in range(100):
        folder = tmp_path / str(place)
        for number in (0, 1):
            checkpoints(folder).save("snapshot", numbered(number))
        with monkeypatch.context() as patch:
            left = crashing(patch, place, error, failing(leave))
            with contextlib.suppress(Crash, RecordError):
                checkpoints(folder).save("snapshot", numbered(2))
        found = checkpoints(folder).newest_intact()
        assert found is not None
        assert found.skipped == ()
        assert same(found.state, numbered(found.state["number"]))
        seen.append(found.state["number"])
        checkpoints(folder).save("snapshot", numbered(3))
        assert sorted(path.name for path in folder.iterdir()) == ["snapshot.previous.pt", "snapshot.pt"]
        if left[0] >= 0:
            break
    assert len(seen) > 7
    assert seen == sorted(seen)  # once the new one is there it stays
    assert set(seen) == {1, 2}


@pytest.mark.parametrize("error", [Crash(), OSError(28, "No space left on device")])
def test_whatever_operation_fails_the_best_ones_load_and_their_number_is_right_again(tmp_path, monkeypatch, error):
    for place in range(100):
        folder = tmp_path / str(place)
        for number in range(3):
            checkpoints(folder).save_best(1, 0.8 + number / 100, numbered(number), env_steps=number)
        with monkeypatch.context() as patch:
            left = crashing(patch, place, error, failing(leave=True))
            with contextlib.suppress(Crash, RecordError):
                checkpoints(folder).save_best(1, 0.9, numbered(3), env_steps=3)
        for path in folder.glob("best_stage_*.pt"):
            checkpoints(folder).load(path)
        assert len(list(folder.glob("best_stage_*.pt"))) >= 3
        checkpoints(folder).save_best(1, 0.95, numbered(4), env_steps=4)
        assert len(best_of(folder)) == 3
        index = json.loads((folder / "best_checkpoints.json").read_text())
        assert sorted(one["file"] for one in index["best"]) == best_of(folder)
        if left[0] >= 0:
            break
    assert place > 7


def test_a_full_disk_is_an_error_of_tempomat_that_names_the_file(tmp_path, monkeypatch):
    crashing(monkeypatch, 0, OSError(28, "No space left on device"), failing(leave=False))
    with pytest.raises(RecordError, match=r"snapshot.pt: cannot be saved: No space left on device\. The checkpoints"):
        checkpoints(tmp_path).save("snapshot", {})
    with pytest.raises(RecordError, match=r"best_stage_1_0.9000_5.pt: cannot be saved: No space left"):
        checkpoints(tmp_path).save_best(1, 0.9, {}, env_steps=5)
