"""`ofa-nas search --measured`: its options, its progress, and what it shows."""

import argparse
from typing import TYPE_CHECKING

from ofa_nas.figures import format_amount, format_bytes, format_count, format_ms
from ofa_nas.precisions import FP32

if TYPE_CHECKING:
    from ofa_nas.cli.console import ProgressBar
    from ofa_nas.pipeline.measured.measured_search import MeasuredResult
    from ofa_nas.pipeline.measured.trials import MeasuredTrial
    from ofa_nas.pipeline.searching.estimators import Estimators
    from ofa_nas.pipeline.searching.promise import Places
    from ofa_nas.pipeline.searching.search import SearchResult

TRIALS, IMAGES, HEARTBEAT_S = 48, 2000, 15.0
_OWN = ("storage", "study", "trials", "heartbeat")


def add_measured(parser: argparse.ArgumentParser) -> None:
    """Add `--measured` and what belongs to it."""
    group = parser.add_argument_group(
        "measured search",
        "subnets near the front are really evaluated, and the predictor learns from them; run the same "
        "command again to continue, or on several machines at once with one storage",
    )
    group.add_argument(
        "--measured", action="store_true", help="choose by measured accuracy instead of predicted accuracy"
    )
    group.add_argument(
        "--storage",
        metavar="STORAGE",
        help="where Optuna keeps the trials: a file, sqlite:///FILE or postgresql://USER@HOST/DATABASE",
    )
    group.add_argument(
        "--study", metavar="NAME", help="name of the study in the storage [default: named after the supernet]"
    )
    group.add_argument(
        "--trials", type=int, metavar="COUNT", help=f"number of trials, over all workers [default: {TRIALS}]"
    )
    group.add_argument(
        "--heartbeat",
        type=float,
        metavar="SECONDS",
        help="interval at which this worker reports that it is alive; after four missed reports "
        f"others retry its trial [default: {HEARTBEAT_S:g}]",
    )


def check_measured(args: argparse.Namespace) -> None:
    """Refuse what does not go with `--measured`, and its options without it.

    Raises:
        ConfigError: Says what is too much, or missing.
    """
    from ofa_nas.errors import ConfigError

    given = [f"--{name}" for name in _OWN if getattr(args, name) is not None]
    if not args.measured:
        if given:
            raise ConfigError(f"{given[0]} belongs to a measured search: add --measured")
        return
    if args.storage is None:
        raise ConfigError("--measured needs --storage: where the trials are kept, such as study.log")
    if args.data is None:
        raise ConfigError("--measured needs --data: a data set with the supernet's classes")
    if args.seeds > 1:
        raise ConfigError(f"--seeds {args.seeds} is for a predicted search: leave out --measured")
    if args.evaluations is not None:
        raise ConfigError(f"--evaluations {args.evaluations} is for a predicted search: leave out --measured")
    if args.finalists is not None:
        raise ConfigError("--finalists are for a predicted search: --measured times every trial")
    if args.objective != "accuracy":
        raise ConfigError(f"--objective {args.objective} is for a predicted search: leave out --measured")
    if args.precision != FP32:
        raise ConfigError(f"--measured evaluates fp32 files: leave out --precision {args.precision}")


def run_measured(
    args: argparse.Namespace, estimators: "Estimators", searched: "SearchResult", places: "Places"
) -> int:
    """Work at the study, show what it holds, and export if asked to; the exit status.

    Args:
        args: Of the command.
        estimators: Of the supernet.
        searched: What they find.
        places: Where latencies are measured, by the names of the tables.
    """
    from ofa_nas.cli.console import give_document
    from ofa_nas.cli.delivery import deliver_result
    from ofa_nas.cli.report import give_report
    from ofa_nas.errors import BudgetError
    from ofa_nas.pipeline.delivery.search_document import measured_document

    result = _follow(args, estimators, searched, places)
    if not args.json:
        show_measured(result, estimators)
    if result.chosen is None:
        raise BudgetError(_describe_failure(result))
    delivery = deliver_result(args, estimators, result.search, places) if args.export is not None else None
    document = measured_document(result, estimators, seed=args.seed, delivery=delivery)
    give_document(args, document)
    give_report(args, document)
    return 0 if delivery is None or delivery.is_met else 1


def _follow(
    args: argparse.Namespace, estimators: "Estimators", searched: "SearchResult", places: "Places"
) -> "MeasuredResult":
    from ofa_nas.cli.console import follow
    from ofa_nas.cli.torch_process import prepare_torch

    prepare_torch()
    from ofa_nas.pipeline.measured.measured_search import (
        MeasuredResult,
        MeasuredSetup,
        TrialBegun,
        Waiting,
        measured_search,
    )
    from ofa_nas.pipeline.measured.trials import MeasuredTrial

    setup = MeasuredSetup(
        storage=args.storage,
        study=args.study or estimators.files.name,
        data=args.data,
        trials=TRIALS if args.trials is None else args.trials,
        images=IMAGES if args.images is None else args.images,
        seed=args.seed,
        places=places,
        every_s=HEARTBEAT_S if args.heartbeat is None else args.heartbeat,
    )

    def show(bar: "ProgressBar", record: object) -> None:
        if isinstance(record, TrialBegun):
            bar.move_to(record.complete, note=f"trial {record.number} here")
        elif isinstance(record, MeasuredTrial):
            bar.advance(note=f"{record.top_1.accuracy:.1%}, predicted {record.candidate.accuracy:.1%}")
        elif isinstance(record, Waiting):
            bar.move_to(record.complete, note=f"waiting for {record.running} of other workers")

    return follow(
        measured_search(estimators, searched, setup, method=args.method, margin=args.margin),
        MeasuredResult,
        show=show,
        title="measuring subnets",
        quiet=args.json,
        total=setup.trials,
    )


def show_measured(result: "MeasuredResult", estimators: "Estimators") -> None:
    """Print the study, the measured front beside what was predicted, and the chosen subnet."""
    from rich.markup import escape

    from ofa_nas.cli.console import make_table, out, wide
    from ofa_nas.cli.search_report import describe_margin, show_source
    from ofa_nas.pipeline.measured.measured_search import ROUND_TRIALS

    show_source(estimators)
    out.print(
        f"study     {escape(result.study)} in {escape(result.storage)}: {len(result.trials)} trials, the "
        f"predictor fitted anew every {ROUND_TRIALS}; images {escape(result.split)}"
        + (f"; {result.given_up} given up" if result.given_up else "")
    )
    for budget in result.search.budgets:
        out.print(f"budget    {budget}{describe_margin(budget, estimators)}")
    timed = [
        device for device in estimators.tables if any(device in one.latencies_ms for one in result.front)
    ]
    table = make_table("top-1", "predicted", *_cost_titles(estimators, timed), "architecture")
    for one in result.front:
        is_chosen = one == result.chosen
        name = str(one.candidate.architecture)
        table.add_row(*_cells(one, timed), name, style="bold" if is_chosen else "")
    wide.print(table)
    if result.chosen is not None:
        _show_chosen(result, result.chosen)


def _show_chosen(result: "MeasuredResult", chosen: "MeasuredTrial") -> None:
    from ofa_nas.cli.console import out
    from ofa_nas.cli.search_report import show_held_out

    out.print(f"subnet    [bold]{chosen.candidate.architecture}[/bold]")
    own = chosen.top_1
    out.print(
        f"measured  top-1 {own.accuracy:.1%} ± {100 * own.half_width:.1f} points at 90 % on "
        f"{own.images} images, where {chosen.candidate.accuracy:.1%} was predicted; as the best of "
        f"{len(result.trials)} on these images it is flattered by them"
    )
    if result.held_out is not None:
        show_held_out(result.held_out)


def _cost_titles(estimators: "Estimators", timed: list[str]) -> list[str]:
    titles = []
    for device in estimators.tables:
        name = "latency" if len(estimators.tables) == 1 else f"latency on {device}"
        titles += [name, "predicted"] if device in timed else [f"{name}, predicted"]
    return [*titles, "MACs", "peak", "weights"]


def _cells(one: "MeasuredTrial", timed: list[str]) -> list[str]:
    candidate = one.candidate
    cells = [f"{one.top_1.accuracy:.1%}", f"{candidate.accuracy:.1%}"]
    for device, predicted_ms in candidate.latencies_ms.items():
        if device in timed:
            measured_ms = one.latencies_ms.get(device)
            cells.append("–" if measured_ms is None else format_ms(measured_ms))
        cells.append(format_ms(predicted_ms))
    peak, weights = format_bytes(candidate.peak_activation_bytes), format_bytes(candidate.weight_bytes)
    return [*cells, format_count(candidate.macs), peak, weights]


def _describe_failure(result: "MeasuredResult") -> str:
    """Which budget the nearest of the measured subnets breaks, and by how much."""
    if not result.trials:
        return f"no trial of the study {result.study!r} is complete: {result.given_up} failed too often"

    def excess(one: "MeasuredTrial") -> float:
        return max(one.cost(budget) / budget.limit for budget in result.search.budgets)

    nearest = min(result.trials, key=excess)
    broken = max(result.search.budgets, key=lambda budget: nearest.cost(budget) / budget.limit)
    return (
        f"{broken}: none of {len(result.trials)} measured subnets keeps every budget; the nearest takes "
        f"{format_amount(nearest.cost(broken), broken.unit)} ({nearest.candidate.architecture}); measure the "
        "table anew (ofa-nas profile), or search with a larger --margin in another --study"
    )
