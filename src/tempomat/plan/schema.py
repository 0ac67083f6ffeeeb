"""A JSON Schema of plans, made from the schedules themselves, so that editors complete and check YAML."""

from __future__ import annotations

from typing import Any

from tempomat.core import RATES, IntervalTable, Unit
from tempomat.core.fields import NUMBER_PATTERN, CountKind, defaults_of, kinds_of
from tempomat.core.intervals import RULES
from tempomat.plan.data import Builder, registry


def schema() -> dict[str, Any]:
    """The schema of a plan, draft 2020-12."""
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
        "$defs": {"schedule": {"anyOf": [{"type": "number"}, {"type": "string", "pattern": NUMBER_PATTERN}, _typed()]}},
    }


def _typed() -> dict[str, Any]:
    """A mapping with a `type`, which alone says what else it may have: editors then speak of one type, not of all."""
    variants: dict[str, list[dict[str, Any]]] = {
        name: [_variant(name, one) for one in builders] for name, builders in sorted(registry().items())
    }
    intervals = kinds_of(IntervalTable)["intervals"].schema()
    for rule in RULES:
        table = _mapping({"type": {"const": rule}, "intervals": intervals}, ["type", "intervals"], "")
        variants[rule] = [*variants.get(rule, []), table]
    cases = [
        {
            "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
            "then": several[0] if len(several) == 1 else {"anyOf": several},
        }
        for name, several in variants.items()
    ]
    return {"type": "object", "required": ["type"], "properties": {"type": {"enum": list(variants)}}, "allOf": cases}


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
