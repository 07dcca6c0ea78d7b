"""`ofa-nas search`: the main job. Device and budgets in; subnet, front and a checked ONNX file out."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ofa_nas.cli.budget_arguments import (
    add_budgets_of_devices,
    add_margin,
    add_objective,
    check_objective,
    read_budgets_of_devices,
    read_goal,
)
from ofa_nas.cli.contest import check_contest, check_data, hold_contest, judge_held_out, pick_candidates
from ofa_nas.cli.device_arguments import DeviceArgument, InOrder, read_devices
from ofa_nas.cli.file_form import add_batch, add_preprocess, read_form
from ofa_nas.cli.measured import add_measured, check_measured, run_measured
from ofa_nas.cli.report import add_report, check_report, give_report
from ofa_nas.cli.supernet_arguments import add_supernet
from ofa_nas.cli.window_arguments import add_windows
from ofa_nas.precisions import FP32, TABLE_PRECISIONS

if TYPE_CHECKING:
    from ofa_nas.pipeline.searching.estimators import Candidate, Estimators
    from ofa_nas.pipeline.searching.finalists import Finals
    from ofa_nas.pipeline.searching.promise import Places
    from ofa_nas.pipeline.searching.search import SearchResult, Unmet
    from ofa_nas.search.budgets import Budget


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `search`."""
    add_supernet(parser)
    parser.add_argument(
        "--device",
        dest="devices",
        action=InOrder,
        metavar="DEVICE",
        help="host or ssh://[USER@]HOST (a latency table is measured first if there is none), or a latency "
        "table by name or file; repeat it for more devices",
    )
    add_budgets_of_devices(parser)
    _add_search(parser)
    _add_devices(parser)
    _add_evaluation(parser)
    _add_output(parser)
    add_measured(parser)


def _add_search(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("search")
    add_objective(group)
    group.add_argument(
        "--precision",
        choices=TABLE_PRECISIONS,
        default=FP32,
        help="precision of the file, for which latency, memory and size are predicted [default: fp32]",
    )
    group.add_argument(
        "--method",
        help="exact, evolution, local, optuna, random, ageing, or the dotted path of your own module "
        "[default: exact if the predictor is a sum, else evolution]",
    )
    group.add_argument(
        "--evaluations",
        type=int,
        metavar="COUNT",
        help="subnets that a method other than exact may score, from each seed, to compare methods at equal "
        "effort [default: 250000; ageing 20000, optuna 5000]",
    )
    group.add_argument("--seed", type=int, default=0, help="random seed [default: 0]")
    group.add_argument(
        "--seeds",
        type=int,
        default=1,
        metavar="COUNT",
        help="search from COUNT seeds, starting with --seed, take the best and show their spread; an exact "
        "search needs only one [default: 1]",
    )


def _add_devices(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("devices")
    add_margin(group)
    group.add_argument(
        "--measure",
        dest="devices",
        action=InOrder,
        metavar="ADDRESS",
        help="host or ssh://[USER@]HOST: time finalists and the exported file there, if the --device before "
        "it is a table [default: that --device, if it is an address]",
    )
    group.add_argument(
        "--finalists",
        type=int,
        metavar="COUNT",
        help="candidates to time on the first reachable device, in up to three rounds, before the best "
        "within the budget is taken; 1 times only the chosen one, 0 none [default: 5]; with --data, "
        "candidates to evaluate [default: 8]",
    )
    group.add_argument(
        "--threads",
        dest="devices",
        action=InOrder,
        metavar="COUNT",
        help="ONNX Runtime threads on the --device before it; before the first --device, on all of them "
        "[default: 1]",
    )


def _add_evaluation(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("real accuracy")
    group.add_argument(
        "--data",
        help="data set with the supernet's classes: evaluate the best candidates (see --finalists) on the "
        "half of its validation images that verification never uses, and rank them by that",
    )
    add_windows(group)
    group.add_argument(
        "--images",
        type=int,
        metavar="COUNT",
        help="images to evaluate each candidate on [default: at most 2000]",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument(
        "--export", metavar="FILE", type=Path, help="write the subnet as an ONNX file, and check it"
    )
    add_batch(group)
    add_preprocess(group)
    add_report(group)
    group.add_argument(
        "--plot",
        action=argparse.BooleanOptionalAction,
        help="plot the front in characters, or don't [default: on a terminal that is wide enough]",
    )


def run(args: argparse.Namespace) -> int:
    """Search, time finalists where that is possible, show, and export if asked to."""
    from ofa_nas.cli.device_tables import find_or_measure_table
    from ofa_nas.files import check_writable
    from ofa_nas.pipeline.searching.estimators import Estimators
    from ofa_nas.pipeline.searching.promise import Place
    from ofa_nas.pipeline.searching.search import SearchResult
    from ofa_nas.search.budgets import budget_levels
    from ofa_nas.supernet_card import SupernetCard, SupernetFiles

    devices = read_devices(args.devices or ())
    budgets = read_budgets_of_devices(args, devices)
    is_list = len(budget_levels(budgets)) > 1
    _check(args, devices, is_list=is_list)
    check_report(args.report)
    _check_form(args, budgets)
    if args.export is not None:
        check_writable(args.export, option="--export", suffix=".onnx")
    files = SupernetFiles.find(args.supernet)
    card = SupernetCard.load(files.card)
    if args.export is not None or args.data is not None:
        card.check_weights(files.name)
    if args.export is not None:
        read_form(args).check(card.space)
    if args.data is not None:
        check_data(args.data, card)
    tables = [
        find_or_measure_table(
            device.text,
            card.space,
            threads=device.threads,
            seed=args.seed,
            quiet=args.json,
            precision=args.precision,
        )
        for device in devices
    ]
    estimators = Estimators.load(args.supernet, *tables, precision=args.precision)
    names = {device.text: table.name for device, table in zip(devices, tables, strict=True)}
    named = [replace(budget, device=names.get(budget.device, "")) for budget in budgets]
    answers = _search(args, estimators, named)
    if is_list:
        return _show_list(args, answers, estimators)
    (result,) = (answer for answer in answers if isinstance(answer, SearchResult))
    places = {
        names[device.text]: Place(device.address, device.threads) for device in devices if device.address
    }
    if args.measured:
        return run_measured(args, estimators, result, places)
    return _finish(args, estimators, result, places)


def _check(args: argparse.Namespace, devices: Sequence[DeviceArgument], *, is_list: bool) -> None:
    """Refuse what does not go together; the margin becomes a number."""
    from ofa_nas.errors import ConfigError
    from ofa_nas.search.budgets import parse_margin

    check_objective(args, is_list=is_list)
    check_measured(args)
    check_contest(args)
    measured = {
        "--measured": args.measured,
        "--export": args.export is not None,
        "--finalists": args.finalists is not None,
        "--measure": any(device.measure is not None for device in devices),
        "--data": args.data is not None,
    }
    if is_list and any(measured.values()):
        option = next(option for option, is_given in measured.items() if is_given)
        raise ConfigError(f"{option} is for one subnet, not for a list of budgets: search with one of them")
    if args.finalists is not None:
        if args.finalists < 0:
            raise ConfigError(f"--finalists {args.finalists}: expected 0 or more")
        if args.data is None and not any(device.address for device in devices):
            raise ConfigError(
                "--finalists are timed on a device: give --measure host or ssh://USER@HOST; or evaluated on "
                "images: give --data"
            )
    if args.margin is not None:
        args.margin = parse_margin(args.margin)
        if all(device.latency is None for device in devices):
            raise ConfigError("--margin is a share of the latency budget: give one with --latency")


def _check_form(args: argparse.Namespace, budgets: "Sequence[Budget]") -> None:
    """Refuse a form without a file, and several images at once where a budget is one of a single image."""
    from ofa_nas.errors import ConfigError
    from ofa_nas.search.budgets import KINDS

    if args.export is None:
        if args.batch is not None or args.preprocess:
            option = "--preprocess" if args.batch is None else "--batch"
            raise ConfigError(f"{option} only applies to an exported file: add --export FILE")
        return
    batch = read_form(args).batch
    limited = [kind for budget in budgets if (kind := KINDS[budget.name]).is_of_one_image]
    if batch not in (1, None) and limited:
        raise ConfigError(
            f"--batch {batch}: a search limits the {limited[0].title} of one image at a time: "
            f"leave out {limited[0].option}, or give --batch dynamic"
        )


def _search(
    args: argparse.Namespace, estimators: "Estimators", budgets: "Sequence[Budget]"
) -> "list[Unmet | SearchResult]":
    from ofa_nas.cli.console import progress
    from ofa_nas.pipeline.searching.cheapest import search_cheapest
    from ofa_nas.pipeline.searching.search import search_supernet
    from ofa_nas.pipeline.searching.seeds import Records, search_from_seeds
    from ofa_nas.search.methods import Generation

    answers = []
    goal = read_goal(args, next(iter(estimators.tables), ""))
    how = {"method": args.method, "max_evaluations": args.evaluations, "margin": args.margin}

    def from_seed(seed: int) -> Records:
        if goal is None:
            return search_supernet(estimators, budgets, seed=seed, **how)
        return search_cheapest(estimators, budgets, goal, seed=seed, **how)

    with progress("searching", total=None, quiet=args.json) as bar:
        for record in search_from_seeds(from_seed, range(args.seed, args.seed + args.seeds)):
            if isinstance(record, Generation):
                bar.advance(note=f"{record.evaluations} architectures scored")
            else:
                answers.append(record)
    return answers


def _show_list(
    args: argparse.Namespace, answers: "list[Unmet | SearchResult]", estimators: "Estimators"
) -> int:
    from ofa_nas.cli.console import give_document
    from ofa_nas.cli.plot import is_plotted
    from ofa_nas.cli.search_report import show_list
    from ofa_nas.pipeline.delivery.search_document import list_document

    document = list_document(answers, estimators, seed=args.seed)
    if not give_document(args, document):
        show_list(answers, estimators, seeds=args.seeds, is_plotted=is_plotted(args.plot))
    give_report(args, document)
    return 0


def _finish(
    args: argparse.Namespace, estimators: "Estimators", result: "SearchResult", places: "Places"
) -> int:
    """Time finalists, show, export and check; the exit status."""
    from ofa_nas.cli.console import give_document
    from ofa_nas.cli.delivery import deliver_result
    from ofa_nas.cli.device_tables import tell_extrapolation
    from ofa_nas.cli.plot import is_plotted
    from ofa_nas.cli.search_report import show_nothing_measured, show_search
    from ofa_nas.pipeline.delivery.search_document import result_document

    candidates = pick_candidates(args, result, next(iter(places), ""))
    contest = hold_contest(args, estimators, candidates)
    if contest is not None:
        candidates = [one.candidate for one in contest.contenders]
    finals = _measure(args, estimators, result, candidates, places)
    result = replace(result, chosen=finals.chosen if finals else candidates[0])
    held_out = judge_held_out(args, estimators, result.chosen)
    if not args.json:
        for name, table in estimators.tables.items():
            tell_extrapolation(table, result.chosen.latencies_ms[name])
        show_search(
            result,
            estimators,
            contest,
            finals,
            held_out=held_out,
            seeds=args.seeds,
            is_plotted=is_plotted(args.plot),
        )
    delivery = deliver_result(args, estimators, result, places) if args.export is not None else None
    document = result_document(
        result,
        estimators,
        seed=args.seed,
        contest=contest,
        finals=finals,
        held_out=held_out,
        delivery=delivery,
    )
    if not give_document(args, document) and finals is None and delivery is None:
        show_nothing_measured(estimators)
    give_report(args, document)
    return 0 if delivery is None or delivery.is_met else 1


def _measure(
    args: argparse.Namespace,
    estimators: "Estimators",
    result: "SearchResult",
    candidates: "Sequence[Candidate]",
    places: "Places",
) -> "Finals | None":
    """Time finalists on the first device at hand; None where there is none, or none is to be timed."""
    from ofa_nas.cli.console import follow
    from ofa_nas.latency.references import reference_architectures
    from ofa_nas.pipeline.searching.finalists import ROUNDS, Finals, Site, measure_finalists

    if not places or args.finalists == 0:
        return None
    name, place = next(iter(places.items()))
    site = Site.at(place, estimators.tables[name], seed=args.seed)
    rounds = ROUNDS if args.data is None else 1  # who was evaluated is who can be chosen
    stream = measure_finalists(result, candidates, estimators.card.space, site, rounds=rounds)
    models = len(candidates) + len(reference_architectures(estimators.card.space))
    return follow(
        stream,
        Finals,
        show=lambda bar, visit: bar.advance(note=visit.model),
        title=f"timing finalists on {site.timed_on}",
        quiet=args.json,
        total=models * site.protocol.rounds,  # at least
    )
