"""The linter's rules. Importing this registers them all."""

from tempomat.analysis.rules import files, horizon, lengths, names, optimizer, units, values
from tempomat.analysis.rules.case import Case
from tempomat.analysis.rules.registry import RULES, Finding, LintError, Rule, Severity, chosen, is_chosen, rule_of

__all__ = [
    "RULES",
    "Case",
    "Finding",
    "LintError",
    "Rule",
    "Severity",
    "chosen",
    "files",
    "horizon",
    "is_chosen",
    "lengths",
    "names",
    "optimizer",
    "rule_of",
    "units",
    "values",
]
