"""Hardware-aware neural architecture search.

Names load on first use, so importing the package costs nothing and never imports torch.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ofa_nas.errors import BudgetError, OfaNasError
    from ofa_nas.latency.shelf import find_table
    from ofa_nas.latency.table import LatencyTable
    from ofa_nas.onnx_writer import write_model
    from ofa_nas.pipeline.delivery.deliver import deliver
    from ofa_nas.pipeline.delivery.file_verification import Delivery, verify_file
    from ofa_nas.pipeline.delivery.found import FoundSubnet, find_subnet
    from ofa_nas.pipeline.evaluating.judging import evaluate
    from ofa_nas.pipeline.searching.estimators import Estimators
    from ofa_nas.pipeline.searching.promise import Place, promise_of_result
    from ofa_nas.pipeline.searching.search import SearchResult, search_supernet
    from ofa_nas.search.budgets import Budget, parse_budget
    from ofa_nas.search.choices import ChoiceSpace
    from ofa_nas.search.comparison import MethodRun, compare_methods
    from ofa_nas.search.encoded import encoding_problem
    from ofa_nas.search.methods import Generation, load_method
    from ofa_nas.search.problem import Problem, Worth
    from ofa_nas.space.architecture import Architecture, Block
    from ofa_nas.space.costs import CostTable, tabulate
    from ofa_nas.space.encoding import Encoding
    from ofa_nas.space.layer import Layer
    from ofa_nas.space.search_space import SearchSpace
    from ofa_nas.supernet.checkpoint import load_supernet
    from ofa_nas.supernet_card import SupernetCard, SupernetFiles

__version__ = "0.1.0"

# ONNX Runtime 1.29 and later would report every session to its makers, and keep an identifier in the user's
# cache folder. It reads this once, when it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = [
    "Architecture",
    "Block",
    "Budget",
    "BudgetError",
    "ChoiceSpace",
    "CostTable",
    "Delivery",
    "Encoding",
    "Estimators",
    "FoundSubnet",
    "Generation",
    "LatencyTable",
    "Layer",
    "MethodRun",
    "OfaNasError",
    "Place",
    "Problem",
    "SearchResult",
    "SearchSpace",
    "SupernetCard",
    "SupernetFiles",
    "Worth",
    "compare_methods",
    "deliver",
    "encoding_problem",
    "evaluate",
    "find_subnet",
    "find_table",
    "load_method",
    "load_supernet",
    "parse_budget",
    "promise_of_result",
    "search_supernet",
    "tabulate",
    "verify_file",
    "write_model",
]

_HOMES = {
    "Architecture": "space.architecture",
    "Block": "space.architecture",
    "Budget": "search.budgets",
    "BudgetError": "errors",
    "ChoiceSpace": "search.choices",
    "CostTable": "space.costs",
    "Delivery": "pipeline.delivery.file_verification",
    "Encoding": "space.encoding",
    "Estimators": "pipeline.searching.estimators",
    "FoundSubnet": "pipeline.delivery.found",
    "Generation": "search.methods",
    "LatencyTable": "latency.table",
    "Layer": "space.layer",
    "MethodRun": "search.comparison",
    "OfaNasError": "errors",
    "Place": "pipeline.searching.promise",
    "Problem": "search.problem",
    "SearchResult": "pipeline.searching.search",
    "SearchSpace": "space.search_space",
    "SupernetCard": "supernet_card",
    "SupernetFiles": "supernet_card",
    "Worth": "search.problem",
    "compare_methods": "search.comparison",
    "deliver": "pipeline.delivery.deliver",
    "encoding_problem": "search.encoded",
    "evaluate": "pipeline.evaluating.judging",
    "find_subnet": "pipeline.delivery.found",
    "find_table": "latency.shelf",
    "load_method": "search.methods",
    "load_supernet": "supernet.checkpoint",
    "parse_budget": "search.budgets",
    "promise_of_result": "pipeline.searching.promise",
    "search_supernet": "pipeline.searching.search",
    "tabulate": "space.costs",
    "verify_file": "pipeline.delivery.file_verification",
    "write_model": "onnx_writer",
}


if not TYPE_CHECKING:  # a type checker that saw it would take any name for one of ours

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"ofa_nas.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
