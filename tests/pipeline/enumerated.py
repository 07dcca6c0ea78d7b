"""A space of 800 architectures, all of them known: budgets are drawn from them and held against them."""

from collections.abc import Sequence

import numpy as np

from ofa_nas.pipeline.searching.estimators import Candidate
from ofa_nas.search.budgets import Budget
from tests.search.worlds import every_architecture

EVERY = every_architecture()
UNITS = {"latency": "ms", "peak_memory": "bytes", "model_size": "bytes", "macs": "MACs"}


def costs_of(candidate: Candidate) -> dict[str, float]:
    return {
        "latency": next(iter(candidate.latencies_ms.values()), 0.0),
        "peak_memory": candidate.peak_activation_bytes,
        "model_size": candidate.weight_bytes,
        "macs": candidate.macs,
    }


def limits_at(candidates: Sequence[Candidate], **shares: float) -> list[Budget]:
    """Budgets that a share of all architectures keeps, each alone."""
    return [
        budget_of(name, float(np.quantile([costs_of(one)[name] for one in candidates], share)))
        for name, share in shares.items()
    ]


def budget_of(name: str, limit: float) -> Budget:
    """A latency is one on the device `exact`."""
    return Budget(name, limit, UNITS[name], "exact" if name == "latency" else "")


def keeps(candidate: Candidate, budgets: Sequence[Budget]) -> bool:
    return all(costs_of(candidate)[budget.name] <= budget.limit for budget in budgets)
