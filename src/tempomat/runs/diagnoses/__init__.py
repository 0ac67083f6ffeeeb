"""The diagnoses. Importing this registers them all."""

from tempomat.runs.diagnoses import overfitting, record, training
from tempomat.runs.diagnoses.case import Case, Mode
from tempomat.runs.diagnoses.registry import DIAGNOSES, Cause, Diagnosis, Finding, Severity, Weight

__all__ = [
    "DIAGNOSES",
    "Case",
    "Cause",
    "Diagnosis",
    "Finding",
    "Mode",
    "Severity",
    "Weight",
    "overfitting",
    "record",
    "training",
]
