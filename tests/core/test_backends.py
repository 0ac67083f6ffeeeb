"""One formula for every backend: torch eager and compiled, JAX in double and single precision, optax as it is.

NumPy is the yardstick. Additions, products and divisions are the same everywhere; powers and cosines of another
library may differ in the last place, and a fused multiply-add saves a rounding: a few units of 2^-53 of the largest
number in the tree, which is more than that of a value near 0.
"""

# Arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false, reportCallIssue=false

import functools
import operator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import LONGEST, SCHEDULES, name_of, one_of_kind, schedules

import tempomat as tm

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
jnp = pytest.importorskip("jax.numpy")
optax = pytest.importorskip("optax")

LAST_PLACES = 32 * 2.0**-53
SINGLE = 2e-5
"""Of float32: its counts have 24 bits, and a cosine of an angle near pi loses half of what is left."""

counts_in = st.lists(st.integers(0, 2 * LONGEST), min_size=1, max_size=20)
FAR = [0, 1, 10, 2**31 - 1]
BEYOND = 3_000_000_000

# Each with a length, a boundary or a shift that no 32-bit count reaches.
LONG = [
    tm.Linear(init_value=0.1, end_value=0.7, duration=BEYOND),
    tm.Cosine(init_value=0.1, end_value=0.7, duration=BEYOND),
    tm.Polynomial(init_value=0.1, end_value=0.7, duration=BEYOND, power=2.0),
    tm.Exponential(init_value=0.7, decay_rate=0.5, every=BEYOND),
    tm.Exponential(init_value=0.7, decay_rate=0.5, every=BEYOND, staircase=True),
    tm.InverseSqrt(init_value=0.7, timescale=BEYOND),
    tm.StepDecay(init_value=0.7, factor=0.5, every=BEYOND),
    tm.MultiStep(init_value=0.7, factor=0.5, milestones=(5, BEYOND)),
    tm.PiecewiseConstant(values=(0.7, 0.5, 0.3), boundaries=(5, BEYOND)),
    tm.PiecewiseLinear(values=(0.7, 0.5), boundaries=(5, BEYOND)),
    tm.IntervalTable(rule="step_decay", intervals=[{"lr": 0.7, "end": BEYOND}, {"lr": 0.5, "start": BEYOND}]),
    tm.IntervalTable(rule="linear_decay", intervals=[{"start": 5, "end": BEYOND, "init_lr": 0.7, "final_lr": 0.1}]),
    tm.IntervalTable(
        rule="exponential_decay",
        intervals=[
            {"end": 10, "init_lr": 0.7, "decay_rate": 0.5, "decay_interval": BEYOND},
            {"start": BEYOND, "init_lr": 0.7, "decay_rate": 0.5, "decay_interval": 3},
        ],
    ),
    tm.Constant(value=0.7).then(tm.Constant(value=0.5), at=BEYOND),
    tm.Linear(init_value=0.1, end_value=0.7, duration=10).shift(BEYOND),
    tm.Linear(init_value=0.1, end_value=0.7, duration=10).stretch(BEYOND),
    tm.Linear(init_value=0.1, end_value=0.7, duration=10).repeat(BEYOND),
    tm.Linear(init_value=0.1, end_value=0.7, duration=10).repeat(10, times=BEYOND),
    tm.warmup_cosine(peak_value=0.7, warmup=10, total=BEYOND),
]


def reach(node):
    """The largest number that a tree's arithmetic meets."""
    if isinstance(node, tm.Composite):
        parts = [reach(child) for child in node.children()]
        kind = functools.partial(functools.reduce, operator.mul) if isinstance(node, tm.Product) else sum
        return kind(parts)
    return max(abs(float(value)) for value in numbers_in(list(node.parameters().values())))


def numbers_in(value):
    if isinstance(value, (list, tuple)):
        return [0.0, *(number for one in value for number in numbers_in(one))]
    return [float(value)] if isinstance(value, float) else []


def assert_close(found, schedule, counts, tolerance=LAST_PLACES):
    expected = schedule(np.asarray(counts))
    np.testing.assert_allclose(np.asarray(found), expected, rtol=tolerance, atol=tolerance * reach(schedule))


@settings(max_examples=60)
@given(schedule=schedules(), counts=counts_in, kind=st.sampled_from([torch.int64, torch.int32, torch.int16]))
def test_a_torch_tensor_gives_a_float64_tensor_of_the_same_values(schedule, counts, kind):
    found = schedule(torch.tensor(counts, dtype=kind))
    assert found.dtype == torch.float64
    assert_close(found, schedule, counts)


@pytest.mark.parametrize("kind", SCHEDULES, ids=name_of)
@settings(max_examples=3)
@given(data=st.data())
def test_a_schedule_runs_inside_torch_compile_in_one_graph(kind, data):
    schedule, counts = data.draw(one_of_kind(kind)), data.draw(counts_in)
    torch.compiler.reset()
    compiled = torch.compile(lambda count: schedule(count) * 2.0, fullgraph=True, backend="eager")
    found = compiled(torch.tensor(counts))
    assert found.dtype == torch.float64
    assert_close(found / 2.0, schedule, counts)


NESTED = (
    tm.warmup_cosine(peak_value=3e-4, end_value=3e-6, warmup=100, total=1000)
    .then(tm.Polynomial(init_value=0.3, end_value=0.1, duration=50, power=1.5).repeat(70, times=3), at=1200)
    .maximum(tm.Exponential(init_value=0.01, decay_rate=0.5, every=300, staircase=True))
    .clip(max=0.25)
)


def test_inside_torch_compile_a_new_count_is_no_new_graph():
    """A count that is a tensor costs one compilation; a float learning rate costs one for every value."""
    graphs = []

    def count_graphs(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    compiled = torch.compile(NESTED, fullgraph=True, backend=count_graphs)
    for count in range(0, 2000, 250):
        assert_close(compiled(torch.tensor(count)), NESTED, count)
    assert len(graphs) == 1


def test_gradients_are_not_asked_of_a_count():
    found = torch.compile(NESTED, fullgraph=True, backend="aot_eager")(torch.arange(50))
    assert not found.requires_grad
    assert_close(found, NESTED, np.arange(50))


# torch's own modules use what torch deprecates
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.slow
def test_a_schedule_compiles_to_machine_code():
    torch.compiler.reset()
    schedule = tm.warmup_cosine(peak_value=3e-4, end_value=3e-6, warmup=100, total=1000)
    try:
        found = torch.compile(schedule, fullgraph=True)(torch.arange(1200))
    except Exception as error:
        if "compiler" in str(error).lower():
            pytest.skip("no C++ compiler that inductor can use")
        raise
    assert_close(found, schedule, np.arange(1200))


def test_torchs_default_precision_does_not_leak_in():
    assert torch.get_default_dtype() == torch.float32
    for count in (
        torch.tensor(7),
        torch.arange(5),
        torch.arange(5, dtype=torch.uint8),
        torch.empty(0, 3, dtype=torch.int64),
    ):
        for schedule in (NESTED, tm.Constant(value=0.1), tm.PiecewiseConstant(values=(0.1, 0.2), boundaries=(3,))):
            found = schedule(count)
            assert found.dtype == torch.float64
            assert found.shape == count.shape
            assert found.device == count.device


@pytest.mark.parametrize("schedule", LONG, ids=repr)
@pytest.mark.parametrize("kind", [torch.int32, torch.int64])
def test_what_lies_beyond_a_torch_counts_own_type_is_never_reached(schedule, kind):
    assert_close(schedule(torch.tensor(FAR, dtype=kind)), schedule, FAR)
    assert_close(schedule(torch.tensor([3, 200], dtype=torch.uint8)), schedule, [3, 200])


@pytest.mark.parametrize("schedule", LONG, ids=repr)
def test_what_lies_beyond_a_jax_counts_own_type_is_never_reached(schedule):
    with jax.enable_x64(True):
        assert_close(jax.jit(schedule)(jnp.array(FAR, dtype=jnp.int32)), schedule, FAR)
        assert_close(jax.jit(schedule)(jnp.array([*FAR, BEYOND, 2**53])), schedule, [*FAR, BEYOND, 2**53])
    # without 64-bit numbers the counts are float32 here, exact up to 2^24
    near = [0, 1, 10, 2**24]
    assert_close(jax.jit(schedule)(jnp.array(near)), schedule, near, SINGLE)


@pytest.mark.parametrize("count", [torch.tensor([1.0]), torch.tensor([True]), torch.tensor(1j)])
def test_a_tensor_that_holds_no_integers_is_refused(count):
    with pytest.raises(tm.ScheduleError, match="counts must be integers, got an array of torch"):
        NESTED(count)


def test_a_jax_array_that_holds_no_integers_is_refused():
    with pytest.raises(tm.ScheduleError, match="counts must be integers, got an array of float32"):
        NESTED(jnp.arange(3.0))


def test_a_negative_count_in_a_tensor_holds_the_first_value():
    """A tensor's values are not looked at: that would wait for the device."""
    assert NESTED(torch.tensor([-5])).tolist() == NESTED(torch.tensor([0])).tolist()


@pytest.mark.parametrize("kind", SCHEDULES, ids=name_of)
@settings(max_examples=3)
@given(data=st.data())
def test_a_schedule_runs_inside_jit_in_double_precision(kind, data):
    schedule, counts = data.draw(one_of_kind(kind)), data.draw(counts_in)
    with jax.enable_x64(True):
        found = jax.jit(schedule)(jnp.array(counts, dtype=jnp.int32))
    assert found.dtype == np.float64
    assert_close(found, schedule, counts)


@pytest.mark.parametrize(
    "schedule",
    [
        tm.Constant(value=0.3),
        tm.Linear(init_value=0.1, end_value=0.7, duration=137),
        tm.Polynomial(init_value=0.7, end_value=0.1, duration=137, power=1.5),
        tm.Cosine(init_value=0.7, end_value=0.1, duration=137),
        tm.Exponential(init_value=0.7, decay_rate=0.9, every=10),
        tm.Exponential(init_value=0.7, decay_rate=0.9, every=10, staircase=True, end_value=0.3),
        tm.InverseSqrt(init_value=0.7, timescale=20),
        tm.StepDecay(init_value=0.7, factor=0.5, every=20),
        tm.MultiStep(init_value=0.7, factor=0.5, milestones=(30, 80)),
        tm.PiecewiseConstant(values=(0.7, 0.1, 0.4), boundaries=(30, 80)),
        tm.PiecewiseLinear(values=(0.7, 0.1, 0.4), boundaries=(0, 30, 80)),
        tm.IntervalTable(rule="linear_decay", intervals=[{"start": 5, "end": 90, "init_lr": 0.7, "final_lr": 0.1}]),
        tm.one_cycle(peak_value=0.7, warmup=40, total=150),
        tm.wsd(peak_value=0.7, warmup=40, decay=30, total=150),
        NESTED,
    ],
    ids=repr,
)
def test_without_double_precision_jax_gives_its_single_one(schedule):
    counts = np.arange(0, 200, 3)
    found = jax.jit(schedule)(jnp.array(counts))
    assert found.dtype == np.float32
    assert_close(found, schedule, counts, SINGLE)


def test_a_schedule_may_be_mapped_and_closed_over_in_jax():
    counts = np.arange(20)
    assert_close(jax.vmap(NESTED)(jnp.array(counts)), NESTED, counts, SINGLE)
    stepped = jax.lax.scan(lambda count, _: (count + 1, NESTED(count)), jnp.array(0), length=20)[1]
    assert_close(stepped, NESTED, counts, SINGLE)
    static = jax.jit(lambda schedule, count: schedule(count), static_argnums=0)
    assert_close(static(NESTED, jnp.array(7)), NESTED, 7, SINGLE)


def adam_by_hand(values, gradients):
    """Adam's updates for a list of learning rates, in NumPy."""
    mean = square = parameter = 0.0
    for step, (lr, gradient) in enumerate(zip(values, gradients, strict=True), 1):
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        parameter -= lr * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
    return parameter


@pytest.mark.parametrize("jit", [True, False])
def test_optax_takes_a_schedule_as_its_learning_rate_as_it_is(jit):
    schedule = tm.warmup_cosine(peak_value=0.1, end_value=0.01, warmup=5, total=20)
    gradients = [float(np.sin(3 * step + 1)) for step in range(25)]
    with jax.enable_x64(True):
        optimizer = optax.adam(learning_rate=schedule)
        parameter = jnp.array(0.0)
        state = optimizer.init(parameter)
        update = jax.jit(optimizer.update) if jit else optimizer.update
        for gradient in gradients:
            change, state = update(jnp.array(gradient), state, parameter)
            parameter = optax.apply_updates(parameter, change)
    by_hand = adam_by_hand([schedule(step) for step in range(25)], gradients)
    np.testing.assert_allclose(float(parameter), by_hand, rtol=1e-12, atol=0)


def test_optax_joins_ours_with_its_own():
    joined = optax.join_schedules(
        [tm.Linear(init_value=0.0, end_value=1.0, duration=10), optax.constant_schedule(1.0)], [10]
    )
    assert [float(joined(count)) for count in (0, 5, 10, 20)] == [0.0, 0.5, 1.0, 1.0]


def test_a_number_in_a_tensor_is_a_parameter_if_it_is_whole():
    """An integer of any library is one; a float in a tensor has a precision of its own and is refused."""
    assert tm.Constant(value=torch.tensor(3)) == tm.Constant(value=3.0)
    assert tm.Linear(init_value=0, end_value=1, duration=torch.tensor(7)).duration == 7
    for value, match in ((torch.tensor(0.1), "must be a number"), (torch.tensor(True), "must be a number")):
        with pytest.raises(tm.ScheduleError, match=match):
            tm.Constant(value=value)


@pytest.mark.gpu
def test_on_a_gpu_the_values_stay_there_and_are_the_same():
    counts = torch.arange(2000, device="cuda")
    with torch.cuda.device(counts.device):
        torch.cuda.set_sync_debug_mode("error")
        try:
            found = NESTED(counts)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert found.device == counts.device
    assert found.dtype == torch.float64
    assert_close(found.cpu(), NESTED, np.arange(2000))
