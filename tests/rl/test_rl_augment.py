"""Shifts are the published ones, on whole pixels; brightness is a factor."""

import subprocess
import sys

import pytest
import torch
from torch.nn import functional

from tempomat_rl.drqv2 import augment, memory


def images(batch=5, channels=3, height=10, width=12, dtype=torch.uint8):
    generator = torch.Generator().manual_seed(7)
    return torch.randint(0, 256, (batch, channels, height, width), dtype=torch.uint8, generator=generator).to(dtype)


def by_sampling(image, by, pad):
    """The published way: replicate padding, then a grid that is moved by whole pixels, then `grid_sample`."""
    height, width = image.shape[2:]
    padded = functional.pad(image.double(), (pad, pad, pad, pad), mode="replicate")

    def centres(count, start):
        size = count + 2 * pad
        return (2.0 * (torch.arange(count) + start) + 1.0) / size - 1.0

    grid = torch.stack(
        [torch.stack(torch.meshgrid(centres(height, y), centres(width, x), indexing="ij")[::-1], -1) for y, x in by]
    )
    return functional.grid_sample(padded, grid.double(), mode="bilinear", padding_mode="zeros", align_corners=False)


EVERY_SHIFT = torch.cartesian_prod(torch.arange(7), torch.arange(7))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_every_shift_is_what_grid_sample_gives_on_whole_pixels(dtype):
    image = images(batch=len(EVERY_SHIFT), dtype=dtype)
    shifted = augment.shift(image, EVERY_SHIFT, 3)
    assert shifted.dtype == dtype
    assert torch.equal(shifted.double(), by_sampling(image, EVERY_SHIFT, 3).round())


def test_both_ways_of_shifting_agree_and_leave_their_input_alone():
    image = images(batch=len(EVERY_SHIFT))
    before = image.clone()
    by_slices = augment._shift_by_slices(image, EVERY_SHIFT, 3)
    assert torch.equal(by_slices, augment._shift_by_index(image, EVERY_SHIFT, 3))
    assert torch.equal(image, before)


def test_the_middle_shift_changes_nothing():
    image = images()
    assert torch.equal(augment.shift(image, torch.full((5, 2), 4), 4), image)


def test_a_shift_moves_rows_by_its_first_number_and_columns_by_its_second():
    image = torch.arange(16, dtype=torch.uint8).reshape(1, 1, 4, 4)
    down = augment.shift(image, torch.tensor([[2, 1]]), 1)[0, 0]
    right = augment.shift(image, torch.tensor([[1, 2]]), 1)[0, 0]
    assert down[:, 0].tolist() == [4, 8, 12, 12]
    assert right[0].tolist() == [1, 2, 3, 3]


def test_brightness_is_a_factor_per_image_cut_off_at_white():
    image = torch.tensor([0, 100, 200], dtype=torch.uint8).reshape(1, 1, 1, 3).expand(2, -1, -1, -1)
    brightened = augment.brighten(image, torch.tensor([0.5, 1.5]))
    assert brightened.dtype == torch.float32
    assert brightened.flatten(1).tolist() == [[0.0, 50.0, 100.0], [0.0, 150.0, 255.0]]


def test_the_quiet_allocator_says_where_it_can_do_nothing(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert memory.quiet_allocator() is False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a C library of Linux")
def test_the_quiet_allocator_ends_the_page_faults_of_large_tensors():
    program = """
import resource, sys, torch
from tempomat_rl.drqv2.memory import quiet_allocator
told = quiet_allocator() if sys.argv[1] == "quiet" else True
torch.zeros(1 << 24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    torch.zeros(1 << 24)
print(told, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

    def faults(how):
        command = [sys.executable, "-c", program, how]
        told, count = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        if told == "False":
            pytest.skip("this C library cannot be told")
        return int(count)

    # With huge pages a large tensor may be a few dozen faults, with small ones thousands; in either case each time.
    assert faults("quiet") < faults("as it is") / 4
