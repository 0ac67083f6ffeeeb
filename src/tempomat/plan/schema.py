"""A JSON Schema of plans, made from the schedules themselves, so that editors complete and check YAML."""

from __future__ import annotations

from typing import Any

from tempomat.core import RATES, IntervalTable, Unit
from tempomat.core.fields import CountKind, defaults_of, kinds_of
from tempomat.core.intervals import RULES
from tempomat.plan.data import Builder, registry


def schema() -> dict[str, Any]:
    """The schema of a plan, draft 2020-12."""
    variants = [_variant(name, builder) for name, builders in sorted(registry().items()) for builder in builders]
    tables = [
        _mapping(
            {"type": {"const": rule}, "intervals": kinds_of(IntervalTable)["intervals"].schema()},
            ["type", "intervals"],
            "",
        )
        for rule in RULES
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tempomat plan",
        **_mapping(
            {
                "total": {
                    **CountKind(1, optional=True).schema(),
                    "description": "the run's length: 10_000, 20 epochs, 3M frames",
                },
                "clock": {"enum": [str(unit) for unit in Unit], "default": str(Unit.OPTIMIZER_STEPS)},
                "rates": _mapping(
                    {name: {"type": "integer", "minimum": 1} for name in RATES},
                    [],
                    "what converts between units",
                ),
                "schedules": {
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": {"$ref": "#/$defs/schedule"},
                },
            },
            ["schedules"],
            "Every scheduled hyperparameter of a run.",
        ),
        "$defs": {"schedule": {"anyOf": [{"type": "number"}, {"type": "string"}, *variants, *tables]}},
    }


def _variant(name: str, builder: Builder) -> dict[str, Any]:
    defaults = defaults_of(builder)
    properties: dict[str, Any] = {"type": {"const": name}}
    for key, kind in kinds_of(builder).items():
        default = {"default": defaults[key]} if isinstance(defaults.get(key), (bool, int, float, str)) else {}
        properties[key] = {**kind.schema(), **default}
    required = ["type", *(key for key in kinds_of(builder) if key not in defaults)]
    return _mapping(properties, required, (builder.__doc__ or "").strip().partition("\n")[0])


def _mapping(properties: dict[str, Any], required: list[str], description: str) -> dict[str, Any]:
    described = {"description": description} if description else {}
    return {
        "type": "object",
        **described,
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
