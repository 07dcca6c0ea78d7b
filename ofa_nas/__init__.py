"""Hardware-aware neural architecture search.

Names load on first use, so importing the package costs nothing and never imports torch.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ofa_nas.errors import OfaNasError
    from ofa_nas.onnx_writer import write_model
    from ofa_nas.search.choices import ChoiceSpace
    from ofa_nas.search.methods import Generation, load_method
    from ofa_nas.search.problem import Problem
    from ofa_nas.space.architecture import Architecture, Block
    from ofa_nas.space.costs import CostTable, tabulate
    from ofa_nas.space.encoding import Encoding
    from ofa_nas.space.layer import Layer
    from ofa_nas.space.search_space import SearchSpace

__version__ = "0.1.0"

# ONNX Runtime 1.29 and later would report every session to its makers, and keep an identifier in the user's
# cache folder. It reads this once, when it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = [
    "Architecture",
    "Block",
    "ChoiceSpace",
    "CostTable",
    "Encoding",
    "Generation",
    "Layer",
    "OfaNasError",
    "Problem",
    "SearchSpace",
    "load_method",
    "tabulate",
    "write_model",
]

_HOMES = {
    "Architecture": "space.architecture",
    "Block": "space.architecture",
    "ChoiceSpace": "search.choices",
    "CostTable": "space.costs",
    "Encoding": "space.encoding",
    "Generation": "search.methods",
    "Layer": "space.layer",
    "OfaNasError": "errors",
    "Problem": "search.problem",
    "SearchSpace": "space.search_space",
    "load_method": "search.methods",
    "tabulate": "space.costs",
    "write_model": "onnx_writer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"ofa_nas.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
