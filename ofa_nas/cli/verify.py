"""`ofa-nas verify`: check an exported file again, from what it says of itself."""

import argparse
from pathlib import Path

from ofa_nas.cli.budget_arguments import add_budgets, read_budgets
from ofa_nas.cli.supernet_arguments import add_split
from ofa_nas.cli.window_arguments import add_windows
from ofa_nas.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `verify`."""
    parser.add_argument("file", metavar="FILE", type=Path, help="ONNX file exported by ofa-nas")
    parser.add_argument(
        "--supernet", help="supernet that the file came from [default: the shipped one that the file names]"
    )
    parser.add_argument(
        "--device",
        metavar="ADDRESS",
        help="time the file on host, or on a board: ssh://[USER@]HOST[:PORT][/PYTHON]",
    )
    add_budgets(parser)
    parser.add_argument(
        "--accuracy", metavar="SHARE", help="top-1 accuracy to reach on these images, such as 85%%"
    )
    parser.add_argument(
        "--data",
        help="data set to measure accuracy on, such as a folder of test images [default: held-out "
        "images of the supernet]",
    )
    add_windows(parser)
    add_split(parser)
    parser.add_argument(
        "--threads", metavar="COUNT", type=int, default=1, help="ONNX Runtime threads [default: 1]"
    )


def run(args: argparse.Namespace) -> int:
    """Check; status 1 when a promise is broken."""
    from ofa_nas.cli.console import give_document
    from ofa_nas.cli.delivery import follow_delivery, show_delivery
    from ofa_nas.cli.torch_process import prepare_process

    prepare_process()
    from ofa_nas.pipeline.delivery.file_verification import verify_file
    from ofa_nas.pipeline.evaluating.judging import VALIDATION, images_for
    from ofa_nas.search.budgets import parse_accuracy

    if args.data is None and args.split != VALIDATION:
        raise ConfigError(f"--split {args.split} chooses among the images of a data set: add --data")
    images = None if args.data is None else images_for(args.file, args.data, split=args.split)
    stream = verify_file(
        args.file,
        supernet=args.supernet,
        device=args.device,
        budgets=read_budgets(args),
        least_accuracy=None if args.accuracy is None else parse_accuracy(args.accuracy),
        images=images,
        threads=args.threads,
    )
    delivery = follow_delivery(stream, quiet=args.json)
    document = {
        "file": str(delivery.path),
        "architecture": delivery.card.arch,
        "is_met": delivery.is_met,
        "exceeds_budget": delivery.exceeds_budget,
        "checks": delivery.checks,
        "threads": delivery.threads,
        "unchecked": delivery.unchecked,
    }
    if not give_document(args, document):
        show_delivery(delivery)
    return 0 if delivery.is_met else 1
