"""`ofa-nas search`: the main job. Device and budgets in; subnet, front and a checked ONNX file out."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ofa_nas.cli.budget_arguments import add_budgets, read_budgets

if TYPE_CHECKING:
    from ofa_nas.pipeline.deliver import Delivery
    from ofa_nas.pipeline.search import Candidate, Estimators, SearchResult
    from ofa_nas.search.budgets import Budget

SHOWN_ON_FRONT = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `search`."""
    parser.add_argument(
        "--supernet",
        default="efficientnet_lite",
        help="a shipped supernet or a .safetensors file (efficientnet_lite)",
    )
    parser.add_argument(
        "--device", help="host (measured first if need be), a shipped latency table, or a table file"
    )
    add_budgets(parser)
    parser.add_argument("--export", metavar="FILE", type=Path, help="write the subnet as ONNX and check it")
    parser.add_argument("--method", default="evolution", help="search method (evolution)")
    parser.add_argument("--threads", type=int, default=1, help="threads of ONNX Runtime on the host (1)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (0)")


def run(args: argparse.Namespace) -> int:
    """Search, show, and export if asked to."""
    from ofa_nas.cli.console import print_json
    from ofa_nas.cli.table_progress import find_table
    from ofa_nas.pipeline.search import Estimators, result_document
    from ofa_nas.supernet_card import SupernetCard, SupernetFiles

    budgets = read_budgets(args)
    space = SupernetCard.load(SupernetFiles.find(args.supernet).card).space
    table = find_table(args.device, space, threads=args.threads, seed=args.seed, quiet=args.json)
    estimators = Estimators.load(args.supernet, table)
    result = _search(args, estimators, budgets)
    if not args.json:
        _show(result, estimators)
    delivery = _deliver(args, estimators, result) if args.export is not None else None
    if args.json:
        print_json(result_document(result, estimators, delivery.measured() if delivery else None))
    return 0 if delivery is None or delivery.is_met else 1


def _search(
    args: argparse.Namespace, estimators: "Estimators", budgets: "tuple[Budget, ...]"
) -> "SearchResult":
    from ofa_nas.cli.console import progress
    from ofa_nas.pipeline.search import SearchResult, search

    with progress("searching", total=None, quiet=args.json) as bar:
        for record in search(estimators, budgets, method=args.method, seed=args.seed):
            if isinstance(record, SearchResult):
                return record
            bar.advance(note=f"{record.evaluations} architectures scored")
    raise AssertionError("a search ended without a result")


def _deliver(args: argparse.Namespace, estimators: "Estimators", result: "SearchResult") -> "Delivery":
    from ofa_nas.cli.delivery import follow, show_delivery
    from ofa_nas.cli.torch_process import calm_threads

    calm_threads()
    from ofa_nas.pipeline.deliver import Promise, deliver

    table = estimators.table
    promise = Promise(
        predicted=result.chosen.predicted(),
        half_width=result.half_width,
        budgets=result.budgets,
        device=table.name if table else "",
        provenance=table.provenance if table else "",
        threads=args.threads,
        references=table.measured.references if table and table.measured else {},
    )
    stream = deliver(estimators.files, result.chosen.architecture, promise, output=args.export)
    delivery = follow(stream, quiet=args.json)
    if not args.json:
        show_delivery(delivery)
    return delivery


def _show(result: "SearchResult", estimators: "Estimators") -> None:
    from ofa_nas.cli.console import out
    from ofa_nas.cli.table_progress import describe_table

    card = estimators.card
    if estimators.table is not None:
        out.print(f"device    {describe_table(estimators.table)}")
    out.print(
        f"supernet  {estimators.files.name}: {card.space.name}, {card.space.cardinality:.2g} subnets, "
        f"trained on {card.data} ({card.space.classes} classes)"
    )
    out.print(f"searched  {result.evaluations:,} architectures scored in {result.cpu_seconds:.1f} s")
    for budget, binds in zip(result.budgets, result.binding, strict=True):
        out.print(f"budget    {budget}: {'binds' if binds else 'does not bind'}")
    _show_front(result)
    chosen = result.chosen
    out.print(f"subnet    [bold]{chosen.architecture}[/bold]")
    out.print(f"predicted {', '.join(_cells(chosen))}; top-1 ± {100 * result.half_width:.1f} points at 90 %")


def _show_front(result: "SearchResult") -> None:
    from ofa_nas.cli.console import make_table, wide

    has_latency = result.chosen.latency_ms is not None
    table = make_table(
        "top-1", *(["latency"] if has_latency else []), "MACs", "peak", "weights", "architecture"
    )
    for candidate in _thinned(result):
        is_chosen = candidate.architecture == result.chosen.architecture
        table.add_row(*_values(candidate), str(candidate.architecture), style="bold" if is_chosen else "")
    wide.print(table)


def _thinned(result: "SearchResult") -> "list[Candidate]":
    """The front's ends, the chosen one, and others evenly between them."""
    front = list(result.front)
    step = max(1.0, (len(front) - 1) / (SHOWN_ON_FRONT - 1))
    kept = {round(index * step) for index in range(SHOWN_ON_FRONT)}
    return [
        candidate
        for index, candidate in enumerate(front)
        if index in kept or candidate.architecture == result.chosen.architecture
    ]


def _values(candidate: "Candidate") -> tuple[str, ...]:
    from ofa_nas.cli.console import format_bytes, format_count
    from ofa_nas.search.budgets import format_amount

    latency = [] if candidate.latency_ms is None else [format_amount(candidate.latency_ms, "ms")]
    return (
        f"{candidate.accuracy:.1%}",
        *latency,
        format_count(candidate.macs),
        format_bytes(candidate.peak_activation_bytes),
        format_bytes(candidate.weight_bytes),
    )


def _cells(candidate: "Candidate") -> list[str]:
    values = list(_values(candidate))
    names = ["top-1", *(["latency"] if candidate.latency_ms is not None else []), "MACs", "peak", "weights"]
    return [f"{name} {value}" for name, value in zip(names, values, strict=True)]
