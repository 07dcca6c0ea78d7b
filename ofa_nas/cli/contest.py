"""`ofa-nas search --data`: the best candidates, evaluated for real before one is chosen."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ofa_nas.accuracy import Top1
    from ofa_nas.pipeline.searching.contest import Contest
    from ofa_nas.pipeline.searching.estimators import Candidate, Estimators
    from ofa_nas.pipeline.searching.search import SearchResult
    from ofa_nas.supernet_card import SupernetCard


def check_contest(args: argparse.Namespace) -> None:
    """Refuse images without data, and data where accuracy is not what is sought.

    Raises:
        ConfigError: Says what is missing or too much.
    """
    from ofa_nas.errors import ConfigError

    if args.data is None and args.images is not None:
        raise ConfigError(f"--images {args.images} needs a data set: add --data")
    if args.data is not None and args.objective != "accuracy":
        raise ConfigError(
            f"--data ranks candidates by accuracy, and --objective {args.objective} does not: leave one of "
            "them out"
        )


def check_data(data: str, card: "SupernetCard") -> None:
    """Refuse data that cannot evaluate a supernet, before a device is measured for minutes.

    Raises:
        ConfigError: There are no such data.
        DataError: They have other classes, or are damaged.
    """
    from ofa_nas.data.dataset import open_data
    from ofa_nas.data.windows import windows_like
    from ofa_nas.pipeline.evaluating.evaluation import check_fit

    check_fit(open_data(windows_like(data, card)).val, card)


def pick_candidates(args: argparse.Namespace, result: "SearchResult", device: str) -> "list[Candidate]":
    """Those that are evaluated or timed before one is chosen, the most wanted first.

    Args:
        args: With `data` and `finalists`.
        result: Of the search.
        device: Name of the table of the device that times; empty for none.
    """
    from ofa_nas.pipeline.searching.contest import CONTENDERS, pick_contenders
    from ofa_nas.pipeline.searching.estimators import by_accuracy
    from ofa_nas.pipeline.searching.finalists import FINALISTS, pick_finalists

    is_timed = bool(device) and args.finalists != 0
    if args.data is None:
        count = FINALISTS if args.finalists is None else args.finalists
        return pick_finalists(result, device, count=count) if is_timed else [result.chosen]
    count = args.finalists or CONTENDERS
    contenders = pick_contenders(result, count=count)
    finalists = pick_finalists(result, device, count=min(count, FINALISTS)) if is_timed else []
    return by_accuracy([*contenders, *finalists])


def judge_held_out(args: argparse.Namespace, estimators: "Estimators", chosen: "Candidate") -> "Top1 | None":
    """Top-1 of the best of a contest on images that chose nothing.

    None without a contest or such images, and where a file is exported, whose check tells it.
    """
    if args.data is None or args.export is not None:
        return None
    from ofa_nas.pipeline.evaluating.evaluation import Bench

    return Bench.open(str(estimators.files.weights)).held_out_top_1(chosen.architecture)


def hold_contest(
    args: argparse.Namespace, estimators: "Estimators", candidates: "Sequence[Candidate]"
) -> "Contest | None":
    """Evaluate candidates; None without data."""
    if args.data is None:
        return None
    from ofa_nas.cli.console import follow
    from ofa_nas.cli.torch_process import prepare_torch
    from ofa_nas.pipeline.searching.contest import IMAGES, Contest, evaluate_contenders

    prepare_torch()
    stream = evaluate_contenders(
        candidates,
        str(estimators.files.weights),
        data=args.data,
        images=IMAGES if args.images is None else args.images,
        seed=args.seed,
    )
    return follow(
        stream,
        Contest,
        show=lambda bar, one: bar.advance(note=f"{one.sample.accuracy:.1%}"),
        title="evaluating candidates",
        quiet=args.json,
        total=len(candidates),
    )
