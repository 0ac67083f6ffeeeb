"""Examples as modules: they are no package."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(path: str) -> ModuleType:
    """The module of an example, by its path in `examples`, run once more each time; its dataclasses look themselves up
    among the loaded modules.
    """
    file = EXAMPLES / path
    spec = importlib.util.spec_from_file_location("example_" + "_".join(Path(path).with_suffix("").parts), file)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
