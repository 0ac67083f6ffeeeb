"""Compiled optimizers: a learning rate in a tensor changes without compiling again."""

import pytest
import torch
from runtime.toys import group, held, weights
from torch._dynamo.testing import CompileCounter
from torch.optim import Adam

import tempomat as tm
from tempomat.torch import Scheduler

WAVE = tm.warmup_cosine(peak_value=1.0, end_value=0.1, warmup=4, total=40, init_value=0.1)

# PyTorch's own compiler imports what PyTorch has deprecated
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


def rounds(optimizer, scheduler, update, count):
    """The lr after each of so many rounds."""
    used = []
    for _ in range(count):
        update()
        used += held(optimizer)
        scheduler.step()
    return used


@pytest.fixture
def compiled():
    """Compiles a function with a backend that counts, and forgets afterwards."""
    torch._dynamo.reset()
    counter = CompileCounter()
    yield lambda function: (torch.compile(function, backend=counter), counter)
    torch._dynamo.reset()


def test_a_compiled_update_is_compiled_once_while_a_tensor_lr_changes_at_every_step(compiled):
    """Schedulers that write floats, or a tensor anew, compile again (pytorch#133898, #163093)."""
    optimizer = Adam([group()], lr=torch.tensor(0.3, dtype=torch.float64))
    scheduler = Scheduler(optimizer, tm.Plan({"lr": WAVE}))
    update, counter = compiled(optimizer.step)
    used = rounds(optimizer, scheduler, update, 2)
    before = counter.frame_count
    assert before >= 1
    used += rounds(optimizer, scheduler, update, 20)
    assert counter.frame_count == before
    assert used == [WAVE(count) for count in range(22)]
    assert scheduler.counts == {"optimizer_steps": 22}


def test_a_plateau_that_decides_does_not_compile_again_either(compiled):
    optimizer = Adam([group()], lr=torch.tensor(0.3, dtype=torch.float64))
    scheduler = Scheduler(optimizer, tm.Plan({"lr": WAVE * tm.Plateau(patience=0, factor=0.9)}))
    update, counter = compiled(optimizer.step)
    rounds(optimizer, scheduler, update, 2)
    before = counter.frame_count
    for _ in range(5):
        update()
        scheduler.step(1.0)
    assert counter.frame_count == before
    assert len(scheduler.events) == 4
    assert held(optimizer) == [WAVE(7) * scheduler.events[-1]["level"]]


def test_a_compiled_update_and_a_plain_one_see_the_same_values(compiled):
    optimizers = [Adam([group()], lr=torch.tensor(0.3, dtype=torch.float64)) for _ in range(2)]
    schedulers = [Scheduler(one, tm.Plan({"lr": WAVE})) for one in optimizers]
    update, _ = compiled(optimizers[0].step)
    one = rounds(optimizers[0], schedulers[0], update, 10)
    assert one == rounds(optimizers[1], schedulers[1], optimizers[1].step, 10)
    assert weights(optimizers[0]) == pytest.approx(
        weights(optimizers[1]), rel=1e-4
    )  # compiled, Adam corrects its bias in float32


@pytest.mark.gpu
def test_a_captured_graph_follows_the_schedule():
    """A captured graph freezes a float lr, and `.item()` at each step breaks the capture (pytorch#106802)."""
    weight = torch.nn.Parameter(torch.zeros(1, device="cuda"))
    weight.grad = torch.ones_like(weight)
    optimizer = Adam([weight], lr=torch.tensor(0.3, device="cuda"), capturable=True)
    scheduler = Scheduler(optimizer, tm.Plan({"lr": WAVE}), counting="calls")
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            optimizer.step()
            scheduler.step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        optimizer.step()
    for count in range(3, 10):
        before = weight.item()
        graph.replay()
        # with a gradient that never changes Adam moves by the lr; float32
        assert before - weight.item() == pytest.approx(WAVE(count), rel=1e-4)
        torch.cuda.set_sync_debug_mode("error")
        scheduler.step()
        torch.cuda.set_sync_debug_mode("default")
