"""`import tempomat` costs NumPy and little more: what it loads is told by name, never by the clock."""

import subprocess
import sys

import pytest

ALLOWED = {"tempomat", "numpy", "array_api_compat"} | sys.stdlib_module_names
LIST_NEW_MODULES = """
import sys
before = set(sys.modules)
import {name}
print(*sorted({{module.split(".")[0] for module in set(sys.modules) - before}}))
"""


def packages_loaded_by(name: str) -> set[str]:
    """Top-level packages that a fresh interpreter loads for `import name`, beyond what it starts with."""
    script = LIST_NEW_MODULES.format(name=name)
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_importing_tempomat_loads_numpy_and_no_other_package():
    loaded = packages_loaded_by("tempomat")
    assert "tempomat" in loaded
    assert loaded <= ALLOWED


@pytest.mark.parametrize("name", ["yaml", "matplotlib", "jsonschema", "optax"])
def test_a_package_that_should_stay_out_would_be_seen(name):
    assert name in packages_loaded_by(name) - ALLOWED
