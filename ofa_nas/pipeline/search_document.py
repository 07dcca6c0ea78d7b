"""What `ofa-nas search --json` prints; docs/formats.md tells the same."""

from collections.abc import Mapping
from typing import Any

from ofa_nas.pipeline.finalists import Finals
from ofa_nas.pipeline.search import Candidate, Estimators, SearchResult


def result_document(
    result: SearchResult,
    estimators: Estimators,
    *,
    finals: Finals | None,
    measured: Mapping[str, float] | None,
) -> dict[str, Any]:
    """The JSON document of a search.

    Args:
        result: With the finalist that was chosen, where finalists were timed.
        estimators: Of the search.
        finals: Timed finalists; None where no device was at hand.
        measured: Of the exported file; None without one.
    """
    table = estimators.table
    return {
        "architecture": str(result.chosen.architecture),
        "space": estimators.card.space.name,
        "supernet": estimators.files.name,
        "device": None if table is None else {"name": table.name, "provenance": table.provenance},
        "budgets": [
            {
                "name": budget.name,
                "limit": budget.limit,
                "margin": budget.margin,
                "searched_limit": budget.searched_limit,
                "unit": budget.unit,
                "binds": binds,
            }
            for budget, binds in zip(result.budgets, result.binding, strict=True)
        ],
        "predicted": result.chosen.predicted() | {"accuracy_half_width": result.half_width},
        "measured": measured,
        "finalists": None if finals is None else _finals(finals),
        "front": [_candidate(candidate) for candidate in result.front],
        "search": {
            "method": result.method,
            "accuracy_bound": result.bound,
            "resolutions": estimators.encoding.space.resolutions,
            "evaluations": result.evaluations,
            "cpu_seconds": result.cpu_seconds,
        },
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return {"architecture": str(candidate.architecture), "predicted": candidate.predicted()}


def _finals(finals: Finals) -> dict[str, Any]:
    return {
        "device": finals.address,
        "slowdown": finals.slowdown,
        "networks": [
            {
                **_candidate(one.candidate),
                "measured": {"latency_ms": one.measured.latency_ms, "latency_p90_ms": one.measured.p90_ms},
                "is_within": one.is_within,
            }
            for one in finals.finalists
        ],
    }
