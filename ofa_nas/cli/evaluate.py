"""`ofa-nas evaluate`: the real accuracy of subnets, taken from a supernet without training, and of files."""

import argparse
import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ofa_nas.cli.supernet_arguments import add_split, add_supernet
from ofa_nas.cli.window_arguments import add_windows

if TYPE_CHECKING:
    from ofa_nas.confusion import Confusion
    from ofa_nas.pipeline.evaluating.judging import Evaluation

_MOST_OTHERS = 3  # that a class is mistaken for
_LONGEST_NAME = 24  # of a class, in a table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `evaluate`."""
    parser.add_argument(
        "archs",
        nargs="*",
        metavar="ARCH|FILE",
        help="architectures: smallest, middle, largest, a named point of the space, or a text such "
        "as 128/3x1/5x6.3x4/…; or .onnx files exported by ofa-nas [default: smallest middle "
        "largest]",
    )
    add_supernet(parser)
    parser.add_argument(
        "--data",
        help="data set on whose validation images to evaluate [default: the held-out sample beside "
        "the supernet]",
    )
    add_windows(parser)
    add_split(parser)
    parser.add_argument(
        "--images", metavar="COUNT", type=int, help="maximum number of these images [default: all]"
    )
    parser.add_argument(
        "--per-class",
        action="store_true",
        help="also show recall, precision and the most frequent confusions of each class; the JSON "
        "has the whole confusion matrix",
    )
    parser.add_argument(
        "--mistakes", type=Path, metavar="FILE", help="write the misclassified images to a CSV file"
    )
    parser.add_argument(
        "--threads",
        metavar="COUNT",
        type=int,
        help="CPU threads for calibration and images [default: all cores, or the CPU quota]",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed, of the choice of images [default: 0]"
    )


def run(args: argparse.Namespace) -> None:
    """Evaluate and list."""
    from rich.markup import escape

    from ofa_nas.cli.console import give_document, out, progress
    from ofa_nas.cli.torch_process import prepare_torch
    from ofa_nas.files import check_writable
    from ofa_nas.pipeline.evaluating.judging import evaluate

    prepare_torch(threads=args.threads)
    if args.mistakes is not None:
        check_writable(args.mistakes, option="--mistakes", suffix=".csv")

    names = args.archs or ["smallest", "middle", "largest"]
    results: list[Evaluation] = []
    with progress("evaluating", total=len(names), quiet=args.json) as bar:
        stream = evaluate(
            args.supernet,
            names,
            data=args.data,
            split=args.split,
            images=args.images,
            seed=args.seed,
            threads=args.threads,
        )
        for result in stream:
            results.append(result)
            bar.advance(note=f"{result.top_1.accuracy:.1%}")
    if args.mistakes is not None:
        _write_mistakes(args.mistakes, results)
    documents = [_document(result, has_classes=args.per_class) for result in results]
    if give_document(args, {"supernet": args.supernet, "results": documents}):
        return
    _show(results)
    if args.data and args.split == "val":
        out.print(f"on the validation images of {escape(args.data)}; --split all takes every image of it")
    for result in results if args.per_class else ():
        _show_classes(result)


def _show(results: "Sequence[Evaluation]") -> None:
    """A line each; with the mean over the classes where these have not equally many images."""
    from ofa_nas.cli.console import make_table, wide

    is_balanced = all(result.confusion.is_balanced for result in results)
    columns = ("top-1", "± at 90 %", *(() if is_balanced else ("balanced",)), "images", "MACs", "network")
    table = make_table(*columns)
    for result in results:
        balanced = () if is_balanced else (f"{result.confusion.balanced_accuracy:.2%}",)
        table.add_row(
            f"{result.top_1.accuracy:.2%}",
            f"{100 * result.top_1.half_width:.1f} points",
            *balanced,
            str(result.top_1.images),
            f"{result.macs / 1e6:.1f} M",
            _name(result),
        )
    wide.print(table)


def _show_classes(result: "Evaluation") -> None:
    """The classes of a network, those of the least recall first and those without an image last."""
    from rich.markup import escape

    from ofa_nas.cli.console import make_table, out, wide

    found = result.confusion
    order = sorted(range(len(found.images)), key=lambda one: (found.images[one] == 0, found.recall[one]))
    table = make_table("recall", "precision", "images", "class", "mistaken for")
    for one in order:
        told = found.mistaken_for(one)[:_MOST_OTHERS]
        others = ", ".join(f"{_cut(name)} ({count})" for name, count in told)
        shares = ("" if math.isnan(values[one]) else f"{values[one]:.1%}" for values in _shares(found))
        table.add_row(*shares, str(found.images[one]), escape(_cut(found.class_names[one])), escape(others))
    out.print(f"\n{escape(_name(result))}")
    wide.print(table)


def _cut(name: str) -> str:
    """The beginning of a name that would take the room of the figures."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _shares(found: "Confusion") -> "tuple[Sequence[float], Sequence[float]]":
    return found.recall.tolist(), found.precision.tolist()


def _name(result: "Evaluation") -> str:
    return str(result.file or result.architecture)


def _write_mistakes(path: Path, results: "Sequence[Evaluation]") -> None:
    """One line an image that a network is wrong about."""
    from ofa_nas.files import replacing

    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        lines = csv.writer(file)
        lines.writerow(("network", "image", "class", "predicted"))
        for result in results:
            name = _name(result)
            lines.writerows((name, one.place, one.label, one.predicted) for one in result.mistakes)


def _document(result: "Evaluation", *, has_classes: bool) -> dict[str, object]:
    return {
        "architecture": result.architecture,
        "file": None if result.file is None else str(result.file),
        "accuracy": result.top_1.accuracy,
        "half_width": result.top_1.half_width,
        "balanced_accuracy": result.confusion.balanced_accuracy,
        "images": result.top_1.images,
        "macs": result.macs,
        **({"classes": _classes(result.confusion)} if has_classes else {}),
    }


def _classes(found: "Confusion") -> list[dict[str, object]]:
    """A class each, with its row of the confusion matrix."""
    recall, precision = ([None if math.isnan(one) else one for one in values] for values in _shares(found))
    return [
        {
            "name": name,
            "images": int(found.images[one]),
            "recall": recall[one],
            "precision": precision[one],
            "predicted": found.counts[one].tolist(),
        }
        for one, name in enumerate(found.class_names)
    ]
