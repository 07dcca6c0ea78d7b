"""What `ofa-nas search --json` prints; docs/formats.md tells the same."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ofa_nas.accuracy import Top1
from ofa_nas.pipeline.delivery.network_document import network_document, table_document
from ofa_nas.pipeline.searching.contest import Contest
from ofa_nas.pipeline.searching.estimators import Candidate, Estimators
from ofa_nas.pipeline.searching.finalists import Finals
from ofa_nas.pipeline.searching.search import Goal, SearchResult, Unmet
from ofa_nas.provenance import record_provenance
from ofa_nas.search.budgets import Budget

if TYPE_CHECKING:
    from ofa_nas.pipeline.delivery.file_verification import Delivery
    from ofa_nas.pipeline.measured.measured_search import MeasuredResult
    from ofa_nas.pipeline.measured.trials import MeasuredTrial


def result_document(
    result: SearchResult,
    estimators: Estimators,
    *,
    seed: int,
    contest: Contest | None,
    finals: Finals | None,
    held_out: Top1 | None,
    delivery: "Delivery | None",
) -> dict[str, Any]:
    """The JSON document of a search for one set of budgets.

    Args:
        result: With the finalist that was chosen, where finalists were timed.
        estimators: Of the search.
        seed: Of the search.
        contest: Evaluated candidates; None without data.
        finals: Timed finalists; None where no device was at hand.
        held_out: Top-1 of the chosen one on images that chose nothing, where there was a contest.
        delivery: The exported file; None without one.
    """
    return {
        **_answer(result, estimators),
        **_delivered(delivery),
        "contest": None if contest is None else _contest(contest, held_out),
        "finalists": None if finals is None else _finals(finals),
        **_shared(result, estimators, seed=seed),
    }


def list_document(
    answers: Sequence[Unmet | SearchResult], estimators: Estimators, *, seed: int
) -> dict[str, Any]:
    """The JSON document of a search for a list of budgets; the last answer is a result."""
    last = answers[-1]
    assert isinstance(last, SearchResult)
    return {
        "answers": [
            _answer(answer, estimators)
            if isinstance(answer, SearchResult)
            else {"budgets": [_budget(budget) for budget in answer.budgets], "unmet": answer.reason}
            for answer in answers
        ],
        **_shared(last, estimators, seed=seed),
    }


def measured_document(
    result: "MeasuredResult", estimators: Estimators, *, seed: int, delivery: "Delivery | None"
) -> dict[str, Any]:
    """The JSON document of a measured search: that of a search, and the study that chose.

    Args:
        result: Of the study; one of its trials was chosen.
        estimators: Of the search.
        seed: Of the search.
        delivery: The exported file; None without one.
    """
    return {
        **_answer(result.search, estimators),
        **_delivered(delivery),
        "finalists": None,
        "study": {
            "storage": result.storage,
            "name": result.study,
            "images": result.split,
            "given_up": result.given_up,
            "chosen": None if result.chosen is None else result.chosen.number,
            "held_out": _held_out(result.held_out),
            "front": [one.number for one in result.front],
            "trials": [_trial(one, result.search.budgets) for one in result.trials],
        },
        **_shared(result.search, estimators, seed=seed),
    }


def _trial(trial: "MeasuredTrial", budgets: Sequence[Budget]) -> dict[str, Any]:
    return {
        "number": trial.number,
        "round": trial.round,
        "worker": trial.worker,
        **_candidate(trial.candidate),
        "measured": {
            "accuracy": trial.top_1.accuracy,
            "accuracy_half_width": trial.top_1.half_width,
            "images": trial.top_1.images,
            "latency_ms": trial.latencies_ms,
        },
        "is_within": all(map(trial.keeps, budgets)),
    }


def _held_out(top_1: Top1 | None) -> dict[str, Any] | None:
    if top_1 is None:
        return None
    return {"accuracy": top_1.accuracy, "half_width": top_1.half_width, "images": top_1.images}


def _delivered(delivery: "Delivery | None") -> dict[str, Any]:
    if delivery is None:
        return {"measured": None, "checks": None}
    return {"measured": delivery.measured(), "checks": [asdict(check) for check in delivery.checks]}


def _answer(result: SearchResult, estimators: Estimators) -> dict[str, Any]:
    return {
        "architecture": str(result.chosen.architecture),
        "budgets": [
            _budget(budget) | {"binds": binds}
            for budget, binds in zip(result.budgets, result.binding, strict=True)
        ],
        "predicted": _predicted(result.chosen),
        "objective": _objective(result.goal),
        "accuracy_bound": result.bound,
        "is_exact": result.is_exact,
        "by_seed": list(result.by_seed),
        "network": network_document(result.chosen.architecture, estimators),
    }


def _objective(goal: Goal | None) -> dict[str, Any]:
    if goal is None:
        return {"name": "accuracy", "device": None, "accuracy": None}
    return {"name": goal.key.name, "device": goal.key.device or None, "accuracy": goal.accuracy}


def _shared(result: SearchResult, estimators: Estimators, *, seed: int) -> dict[str, Any]:
    """What all answers of one search have in common."""
    return {
        "space": estimators.card.space.name,
        "supernet": estimators.files.name,
        "predictor": estimators.description,
        "precision": estimators.precision,
        "devices": [
            {"name": table.name, "provenance": table.provenance} for table in estimators.tables.values()
        ],
        "tables": [table_document(table) for table in estimators.tables.values()],
        "weights": {
            "data": estimators.card.data,
            "classes": estimators.card.space.classes,
            "sha256": estimators.card.sha256,
            "licence": estimators.card.licence,
        },
        "front": [_candidate(candidate) for candidate in result.front],
        "search": {
            "method": result.method,
            "resolutions": estimators.encoding.space.resolutions,
            "evaluations": result.evaluations,
            "cpu_seconds": result.cpu_seconds,
        },
        "made_by": record_provenance(seed=seed).to_json(),
    }


def _budget(budget: Budget) -> dict[str, Any]:
    return {
        "name": budget.name,
        "device": budget.device or None,
        "limit": budget.limit,
        "margin": budget.margin,
        "searched_limit": budget.searched_limit,
        "unit": budget.unit,
    }


def _predicted(candidate: Candidate) -> dict[str, Any]:
    interval = {"accuracy_half_width": candidate.half_width or None}
    return candidate.figures() | interval | {"latency_ms": candidate.latencies_ms}


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return {"architecture": str(candidate.architecture), "predicted": _predicted(candidate)}


def _contest(contest: Contest, held_out: Top1 | None) -> dict[str, Any]:
    first = contest.contenders[0].sample
    return {
        "split": first.split,
        "images": first.images,
        "held_out": _held_out(held_out),
        "networks": [
            {
                **_candidate(one.candidate),
                "measured": {"accuracy": one.sample.accuracy},
                "accuracy": one.accuracy,
            }
            for one in contest.contenders
        ],
    }


def _finals(finals: Finals) -> dict[str, Any]:
    return {
        "device": finals.device,
        "address": finals.address,
        "slowdown": finals.slowdown,
        "slowdowns": list(finals.slowdowns),
        "stale": list(finals.stale),
        "threads": finals.threads,
        "networks": [
            {
                **_candidate(one.candidate),
                "measured": {"latency_ms": one.measured.latency_ms, "latency_p90_ms": one.measured.p90_ms},
                "is_within": one.is_within,
                "round": one.round,
            }
            for one in finals.finalists
        ],
    }
