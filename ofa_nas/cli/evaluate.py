"""`ofa-nas evaluate`: the real accuracy of subnets, taken from a supernet without training."""

import argparse
from typing import TYPE_CHECKING

from ofa_nas.cli.supernet_arguments import add_supernet
from ofa_nas.cli.window_arguments import add_windows

if TYPE_CHECKING:
    from ofa_nas.pipeline.evaluating.evaluation import Evaluation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `evaluate`."""
    parser.add_argument(
        "archs",
        nargs="*",
        metavar="ARCH",
        help="texts, named points of the space, or smallest, middle, largest (those three)",
    )
    add_supernet(parser)
    parser.add_argument(
        "--data", help="evaluate on the validation images of a data set (the held-out sample)"
    )
    add_windows(parser)
    parser.add_argument("--images", type=int, help="how many of them at most (all)")
    parser.add_argument(
        "--threads",
        type=int,
        help="CPU threads for calibration and images (all cores, or what a CPU quota leaves)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw of images (0)")


def run(args: argparse.Namespace) -> None:
    """Evaluate and list."""
    from ofa_nas.cli.console import give_document, make_table, progress, wide
    from ofa_nas.cli.torch_process import prepare_torch
    from ofa_nas.pipeline.evaluating.evaluation import evaluate

    prepare_torch(threads=args.threads)

    names = args.archs or ["smallest", "middle", "largest"]
    results: list[Evaluation] = []
    with progress("evaluating", total=len(names), quiet=args.json) as bar:
        stream = evaluate(
            args.supernet, names, data=args.data, images=args.images, seed=args.seed, threads=args.threads
        )
        for result in stream:
            results.append(result)
            bar.advance(note=f"{result.top_1.accuracy:.1%}")
    if give_document(args, {"supernet": args.supernet, "results": list(map(_document, results))}):
        return
    table = make_table("top-1", "± at 90 %", "images", "MACs", "architecture")
    for result in results:
        table.add_row(
            f"{result.top_1.accuracy:.2%}",
            f"{100 * result.top_1.half_width:.1f} points",
            str(result.top_1.images),
            f"{result.macs / 1e6:.1f} M",
            str(result.architecture),
        )
    wide.print(table)


def _document(result: "Evaluation") -> dict[str, object]:
    return {
        "architecture": result.architecture,
        "accuracy": result.top_1.accuracy,
        "half_width": result.top_1.half_width,
        "images": result.top_1.images,
        "macs": result.macs,
    }
