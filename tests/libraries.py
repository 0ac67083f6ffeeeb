"""Libraries that tests compare with, imported where their own `__init__` needs what is not installed here."""

import sys
import warnings
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import Any

import pytest


def submodule(package: str, module: str) -> Any:
    """A module of a package without running the package's `__init__`: timm's and fastai's need torchvision, whose
    builds for a CPU are on no package index. Skips the test where the package is not installed.
    """
    if module in sys.modules:
        return sys.modules[module]
    spec = find_spec(package)
    if spec is None:
        pytest.skip(f"{package} is not installed")
    had = sys.modules.get(package)
    sys.modules[package] = had or module_from_spec(spec)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_module(module)
    finally:
        if had is None:
            del sys.modules[package]


def timm_schedulers() -> Any:
    """`timm.scheduler`: `create_scheduler_v2`, `CosineLRScheduler`, ..."""
    return submodule("timm", "timm.scheduler")
