"""Configs refuse what cannot be, all of it at once, and come back from plain data."""

import dataclasses

import pytest

from tempomat_rl.drqv2 import ENCODERS, AgentConfig, AgentError, EncA, EncB, Keypoint, Original


def test_the_defaults_are_the_pipelines():
    config = AgentConfig()
    assert (config.feature_dim, config.hidden_dim, config.tau, config.noise_clip) == (128, 512, 0.05, 0.32)
    assert (config.shift, config.brightness, config.lr) == (4, (0.5, 1.5), 1e-4)
    assert (EncA().width, EncA().heads, EncB().width, EncB().heads, EncB().patch) == (256, 4, 256, 4, 12)
    assert set(ENCODERS) == {"original", "enc_A", "enc_B", "keypoint"}


@pytest.mark.parametrize("encoder", [Original(offset=0.5), EncA(heads=8), EncB(patch=6), Keypoint(widths=(1, 2))])
def test_a_config_comes_back_from_its_repr_and_from_a_mapping(encoder):
    config = AgentConfig(encoder=encoder, brightness=None, norm="rms")
    assert eval(repr(config)) == config
    inner = {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(encoder).items()}
    mapping = {**dataclasses.asdict(config), "encoder": {"name": encoder.name, **inner}}
    assert AgentConfig.read(mapping) == config


def test_every_fault_is_told_with_its_path():
    mapping = {
        "tau": 0,
        "hidden": 12,
        "encoder": {"name": "enc_B", "heads": 3, "pach": 12},
        "precision": "fp64",
    }
    with pytest.raises(AgentError, match="agent: 5 faults") as told:
        AgentConfig.read(mapping)
    assert {fault.path for fault in told.value.faults} == {
        "tau",
        "hidden",
        "encoder.heads",
        "encoder.pach",
        "precision",
    }
    assert "Did you mean hidden_dim?" in str(told.value)
    assert "Did you mean patch?" in str(told.value)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"encoder": {"name": "enc_C"}}, r"encoder\.name: must be original, enc_A, enc_B, keypoint, got 'enc_C'"),
        ({"encoder": {}}, r"encoder\.name: must be original, enc_A, enc_B, keypoint, got None"),
        ({"encoder": {"name": ["enc_A"]}}, r"encoder\.name: must be original"),
        ({"encoder": "enc_B"}, "encoder: must be one of Original, EncA, EncB, Keypoint"),
    ],
)
def test_an_encoder_of_no_known_name_is_refused(mapping, message):
    with pytest.raises(AgentError, match=message):
        AgentConfig.read(mapping)


BAD = {
    "feature_dim": (0, 1.5, True, "1"),
    "hidden_dim": (0, -3),
    "norm": ("batch", None),
    "tau": (0, 1.1, float("nan"), None, True),
    "reward_scale": (0, -1, float("inf")),
    "noise_clip": (-0.1, "a", float("nan")),
    "shift": (-1, 0.5, True),
    "brightness": ((1.5, 0.5), (-0.1, 1), (0.5,), "ab", 3),
    "lr": (-1e-4, float("nan")),
    "lr_tensors": (1, None),
    "precision": ("fp16", None),
    "encoder": (None, 3),
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_a_value_that_cannot_be_is_refused(name, value):
    with pytest.raises(AgentError, match=rf"^agent: {name}: must be .*, got "):
        AgentConfig(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("tau", 1), ("noise_clip", 0), ("shift", 0), ("brightness", (1, 1)), ("brightness", [0, 2.5]), ("lr", 0)],
)
def test_a_value_at_its_bound_is_taken(name, value):
    got = getattr(AgentConfig(**{name: value}), name)
    assert got == (tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (Original, {"channels": ()}, "original: channels: must be whole numbers"),
        (Original, {"strides": (1, 2)}, "original: strides: needs one number per layer, 4 as in channels, got 2"),
        (Original, {"kernels": (3, 3, 3, 0)}, "original: kernels: must be whole numbers"),
        (Original, {"kernels": "3333"}, "original: kernels: must be whole numbers"),
        (Original, {"kernels": 3}, "original: kernels: must be whole numbers"),
        (Original, {"offset": float("inf")}, "original: offset: must be a finite number"),
        (EncA, {"heads": 3}, "enc_A: heads: must divide width, 256, got 3"),
        (EncA, {"groups": ()}, "enc_A: groups: must be at least one"),
        (EncA, {"strides": (4,)}, "enc_A: strides: needs one number per layer, 3 as in channels, got 1"),
        (EncB, {"heads": 0}, "enc_B: heads: must be a whole number of at least 1"),
        (EncB, {"local_blocks": 0}, "enc_B: local_blocks: must be"),
        (EncB, {"groups": (3, 0)}, "enc_B: groups: must be whole numbers"),
        (Keypoint, {"widths": ()}, "keypoint: widths: must be at least one"),
    ],
)
def test_sizes_of_an_encoder_that_cannot_be_are_refused(kind, given, message):
    with pytest.raises(AgentError, match=message):
        kind(**given)


def test_a_config_of_no_known_rule_is_not_forgotten():
    for kind in (AgentConfig, *ENCODERS.values()):
        assert set(kind.rules) == {one.name for one in dataclasses.fields(kind)}
