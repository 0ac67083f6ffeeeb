"""Encoders have the sizes and see the things that their configs say."""

from typing import Any

import pytest
import torch
from torch import nn

from tempomat_rl.drqv2 import AgentError, EncA, EncB, Keypoint, Original
from tempomat_rl.drqv2.encoders import Block, build_encoder
from tempomat_rl.frames import FrameSpec

PUBLISHED = FrameSpec((1, 84, 84), 11)
SMALL = FrameSpec((1, 12, 12), 3)
ENC_A = EncA(width=8, heads=2, groups=(1, 2), channels=(4,), kernels=(5,), strides=(3,))
ENC_B = EncB(width=8, heads=2, patch=6, groups=(1, 2))
ORIGINAL = Original(channels=(4, 4), kernels=(3, 3), strides=(2, 1), offset=0.5)


def seen(spec, batch=4, frames=3, seed=0) -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(seed)
    image = None
    if spec.image is not None:
        channels, *size = spec.image
        image = torch.randint(0, 256, (batch, frames * channels, *size), dtype=torch.uint8, generator=generator)
    return image, torch.randn(batch, frames, spec.state, generator=generator)


def built(config, spec, frames=3):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_encoder(config, spec, frames)


@pytest.mark.parametrize(
    ("config", "spec", "size"),
    [
        (Original(), PUBLISHED, 39_200 + 33),
        (Original(offset=0.5), FrameSpec((3, 84, 84), 0), 39_200),
        (Original(channels=(16, 32, 32), kernels=(3,) * 3, strides=(2,) * 3), FrameSpec((1, 42, 42), 11), 512 + 33),
        (EncA(), PUBLISHED, 256),
        (EncB(), PUBLISHED, 256),
        (EncB(groups=()), FrameSpec((3, 84, 84), 0), 256),
        (Keypoint(widths=(32, 16)), FrameSpec(None, 15), 16),
    ],
)
def test_an_encoder_gives_as_many_numbers_as_it_says(config, spec, size):
    encoder = built(config, spec)
    with torch.no_grad():
        encoded = encoder(*seen(spec, batch=2))
    assert encoder.out_features == size
    assert encoded.shape == (2, size)
    assert encoded.isfinite().all()


@pytest.mark.parametrize(
    ("config", "spec"),
    [(ORIGINAL, SMALL), (ENC_A, SMALL), (ENC_B, SMALL), (Keypoint(widths=(8,)), FrameSpec(None, 4))],
)
def test_every_parameter_every_frame_and_every_state_number_matters_and_no_other_sample(config, spec):
    encoder = built(config, spec)
    image, state = seen(spec)
    image = None if image is None else image.float().requires_grad_()
    state.requires_grad_()
    weights = torch.randn(encoder.out_features, generator=torch.Generator().manual_seed(5))
    (encoder(image, state)[0] @ weights).backward()
    for name, parameter in encoder.named_parameters():
        if name.startswith(("across.before_attention", "across.query")):
            continue  # one token to attend to has all the attention, whatever the query
        assert bool(parameter.grad.abs().sum() > 0), name
    assert bool((state.grad[0] != 0).all())
    assert bool((state.grad[1:] == 0).all())
    if image is not None:
        assert bool((image.grad[0].abs().sum((1, 2)) > 0).all())
        assert bool((image.grad[1:] == 0).all())


@pytest.mark.parametrize("offset", [0.0, 0.5])
@pytest.mark.parametrize("spec", [FrameSpec((3, 12, 12), 2), FrameSpec((1, 12, 12), 0)])
def test_original_is_convolutions_on_scaled_pixels_joined_with_the_state(offset, spec):
    encoder = built(Original(channels=(4, 5), kernels=(3, 3), strides=(2, 1), offset=offset), spec)
    nn.init.normal_(encoder.first.bias, generator=torch.Generator().manual_seed(1))
    image, state = seen(spec)
    got = encoder(image, state).detach()
    copy = built(Original(channels=(4, 5), kernels=(3, 3), strides=(2, 1)), spec).double()
    copy.load_state_dict(encoder.state_dict())
    x = copy.rest(copy.first(image.double() / 255 - offset))
    expected = torch.cat([x.detach().permute(0, 2, 3, 1).flatten(1), state.double().flatten(1)], dim=1)
    assert float((got - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


@pytest.mark.parametrize("config", [ENC_A, ENC_B])
def test_the_order_of_frames_is_seen(config):
    encoder = built(config, SMALL)
    image, state = seen(SMALL)
    forward, backward = encoder(image, state), encoder(image.flip(1), state.flip(1))
    assert float((forward - backward).detach().abs().max()) > 1e-4


def test_enc_b_sees_where_a_patch_is():
    encoder = built(ENC_B, SMALL)
    image, state = seen(SMALL)
    moved = image.roll(6, dims=2)  # the same patches elsewhere
    assert float((encoder(image, state) - encoder(moved, state)).detach().abs().max()) > 1e-5


def test_enc_b_has_the_published_tokens():
    encoder = built(EncB(), PUBLISHED)
    counts = []
    for block in (encoder.local[0], encoder.temporal[0]):
        block.register_forward_pre_hook(lambda _, given: counts.append(tuple(given[0].shape)))
    encoder(*seen(PUBLISHED, batch=2))
    assert counts == [(6, 3 + 49, 256), (2, 12, 256)]
    assert len(encoder.local) == 2
    assert len(encoder.temporal) == 1


def test_enc_a_attends_to_one_image_token_per_frame_then_over_nine():
    encoder = built(EncA(), PUBLISHED)
    shapes = []
    encoder.across.register_forward_pre_hook(lambda _, given: shapes.append([tuple(one.shape) for one in given]))
    encoder.over_time.register_forward_pre_hook(lambda _, given: shapes.append([tuple(one.shape) for one in given]))
    encoder(*seen(PUBLISHED, batch=2))
    assert shapes == [[(6, 3, 256), (6, 1, 256)], [(2, 9, 256)]]


@pytest.mark.parametrize("context_tokens", [None, 5])
def test_a_block_is_pre_norm_attention_and_a_gelu_layer(context_tokens):
    generator = torch.Generator().manual_seed(3)
    block = Block(8, 2).double()
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator)
    theirs = nn.MultiheadAttention(8, 2, batch_first=True).double()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([block.query.weight, block.key_value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([block.query.bias, block.key_value.bias]))
        theirs.out_proj.load_state_dict(block.joined.state_dict())
    x = torch.randn(2, 4, 8, dtype=torch.float64, generator=generator)
    normed = block.before_attention(x)
    context = None
    if context_tokens is not None:
        context = torch.randn(2, context_tokens, 8, dtype=torch.float64, generator=generator)
    key = normed if context is None else context
    expected = x + theirs(normed, key, key)[0]
    expected = expected + block.mixing(block.before_mixing(expected))
    assert torch.allclose(block(x, context), expected, rtol=1e-10, atol=1e-12)
    assert [type(layer) for layer in block.mixing] == [nn.Linear, nn.GELU, nn.Linear]
    assert block.mixing[0].out_features == 32


@pytest.mark.parametrize(
    ("config", "spec", "message"),
    [
        (Original(), FrameSpec(None, 15), "original reads images"),
        (EncA(), FrameSpec(None, 11), "enc_A reads images"),
        (EncB(), FrameSpec(None, 11), "enc_B reads images"),
        (Keypoint(), PUBLISHED, "keypoint reads state numbers alone"),
        (Keypoint(), FrameSpec(None, 0), "keypoint reads state numbers alone"),
        (EncB(patch=10), PUBLISHED, r"encoder\.patch: must divide the image's sides, 84 x 84, got 10"),
        (EncB(patch=12), FrameSpec((1, 84, 80), 11), r"encoder\.patch: must divide"),
        (EncA(), FrameSpec((1, 84, 84), 15), r"must add up to the task's state numbers, 15, got \[3, 4, 4\], 11"),
        (Original(), FrameSpec((1, 8, 84), 0), r"a kernel of 3 does not fit what is left of the image, 1 x 39"),
    ],
)
def test_what_does_not_fit_the_task_is_refused_with_its_fix(config, spec, message):
    with pytest.raises(AgentError, match=message):
        build_encoder(config, spec, 3)
