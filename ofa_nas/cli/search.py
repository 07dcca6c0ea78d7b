"""`ofa-nas search`: the main job. Device and budgets in; subnet, front and a checked ONNX file out."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ofa_nas.cli.budget_arguments import add_budgets, add_margin, read_budgets

if TYPE_CHECKING:
    from ofa_nas.pipeline.deliver import Delivery
    from ofa_nas.pipeline.finalists import Finals
    from ofa_nas.pipeline.search import Estimators, SearchResult
    from ofa_nas.search.budgets import Budget


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `search`."""
    parser.add_argument(
        "--supernet",
        default="efficientnet_lite",
        help="a shipped supernet or a .safetensors file (efficientnet_lite)",
    )
    parser.add_argument(
        "--device",
        help="host or ssh://[USER@]HOST (measured first if need be), or a latency table by its name or file",
    )
    add_budgets(parser)
    add_margin(parser)
    parser.add_argument(
        "--measure",
        metavar="ADDRESS",
        help="host or ssh://[USER@]HOST: where to time finalists and the exported file, with a table given "
        "by its name or file (--device, where that is an address)",
    )
    parser.add_argument(
        "--finalists",
        type=int,
        metavar="COUNT",
        help="candidates to time there, of which the best within the budget is taken; 1 times the chosen one "
        "alone, 0 none (5)",
    )
    parser.add_argument("--export", metavar="FILE", type=Path, help="write the subnet as ONNX and check it")
    parser.add_argument(
        "--method",
        help="exact, evolution or random, or a module of your own (exact where the predictor is a sum, else "
        "evolution)",
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of ONNX Runtime (1)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (0)")


def run(args: argparse.Namespace) -> int:
    """Search, time finalists where that is possible, show, and export if asked to."""
    from ofa_nas.cli.console import print_json
    from ofa_nas.cli.search_report import show_nothing_measured, show_search
    from ofa_nas.cli.table_progress import find_table
    from ofa_nas.pipeline.search import Estimators
    from ofa_nas.pipeline.search_document import result_document
    from ofa_nas.supernet_card import SupernetCard, SupernetFiles

    budgets = _read(args)
    space = SupernetCard.load(SupernetFiles.find(args.supernet).card).space
    table = find_table(args.device, space, threads=args.threads, seed=args.seed, quiet=args.json)
    estimators = Estimators.load(args.supernet, table)
    result = _search(args, estimators, budgets)
    finals = _measure(args, estimators, result)
    if finals is not None:
        result = replace(result, chosen=finals.chosen)
    if not args.json:
        show_search(result, estimators, finals)
    delivery = _deliver(args, estimators, result) if args.export is not None else None
    if args.json:
        measured = delivery.measured() if delivery else None
        print_json(result_document(result, estimators, finals=finals, measured=measured))
    elif finals is None and table is not None and delivery is None:
        show_nothing_measured(table)
    return 0 if delivery is None or delivery.is_met else 1


def _read(args: argparse.Namespace) -> "tuple[Budget, ...]":
    from ofa_nas.errors import ConfigError
    from ofa_nas.search.budgets import parse_margin

    args.address = _read_address(args)
    if args.finalists is not None:
        if args.finalists < 0:
            raise ConfigError(f"--finalists {args.finalists}: expected 0 or more")
        if not args.address:
            raise ConfigError("--finalists are timed on a device: give --measure host or ssh://USER@HOST")
    if args.margin is not None:
        args.margin = parse_margin(args.margin)
        if args.latency is None:
            raise ConfigError("--margin is a share of the latency budget: give one with --latency")
    return read_budgets(args)


def _read_address(args: argparse.Namespace) -> str:
    """Where to time; empty for nowhere."""
    from ofa_nas.devices import is_address
    from ofa_nas.errors import ConfigError

    own = args.device if args.device and is_address(args.device) else ""
    if args.measure is None:
        return own
    if not is_address(args.measure):
        raise ConfigError(f"--measure {args.measure[:80]}: expected host, or ssh://USER@HOST")
    if args.device is None or own not in ("", args.measure):
        raise ConfigError(
            "--measure says where the device of a table is: give the table to --device by its name or file"
        )
    return str(args.measure)


def _search(
    args: argparse.Namespace, estimators: "Estimators", budgets: "tuple[Budget, ...]"
) -> "SearchResult":
    from ofa_nas.cli.console import progress
    from ofa_nas.pipeline.search import SearchResult, search

    with progress("searching", total=None, quiet=args.json) as bar:
        stream = search(estimators, budgets, method=args.method, seed=args.seed, margin=args.margin)
        for record in stream:
            if isinstance(record, SearchResult):
                return record
            bar.advance(note=f"{record.evaluations} architectures scored")
    raise AssertionError("a search ended without a result")


def _measure(args: argparse.Namespace, estimators: "Estimators", result: "SearchResult") -> "Finals | None":
    """Time finalists; None where there is no device at hand, or none is to be timed."""
    from ofa_nas.cli.console import progress
    from ofa_nas.devices import MeasuringProtocol, open_device
    from ofa_nas.pipeline.finalists import FINALISTS, Finals, measure_finalists

    table, count = estimators.table, FINALISTS if args.finalists is None else args.finalists
    if table is None or not args.address or count == 0:
        return None
    stream = measure_finalists(
        result,
        estimators.card.space,
        open_device(args.address),
        table=table,
        address=args.address,
        protocol=MeasuringProtocol(threads=args.threads, seed=args.seed),
        count=count,
    )
    with progress(f"timing finalists on {args.address}", total=None, quiet=args.json) as bar:
        for record in stream:
            if isinstance(record, Finals):
                return record
            bar.advance(note=record.model)
    raise AssertionError("finals ended without their record")


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
        address=args.address,
    )
    stream = deliver(estimators.files, result.chosen.architecture, promise, output=args.export)
    delivery = follow(stream, quiet=args.json)
    if not args.json:
        show_delivery(delivery)
    return delivery
