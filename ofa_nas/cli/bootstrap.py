"""`ofa-nas bootstrap`: a supernet out of a pretrained network, without training."""

import argparse
from pathlib import Path

from ofa_nas.cli.delivery import show_licence
from ofa_nas.cli.training_arguments import add_fit
from ofa_nas.cli.window_arguments import add_windows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `bootstrap`."""
    parser.add_argument(
        "--from",
        dest="start",
        required=True,
        help="what to start from: a pretrained network (efficientnet_lite0) or a supernet (a name "
        "or a .safetensors file)",
    )
    parser.add_argument(
        "--space",
        help="search space, by name or TOML file; may differ from that of --from only in its "
        "resolutions [default: that of --from]",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        required=True,
        help="supernet to write, a .safetensors file; its card and images go beside it",
    )
    parser.add_argument(
        "--data",
        help="data set whose classes become the outputs and whose images evaluate and export need "
        "[default: the classes of --from, and no images]",
    )
    add_windows(parser)
    add_fit(parser)
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="random seed, of a new classifier and of the choice of images [default: 0]",
    )


def run(args: argparse.Namespace) -> None:
    """Write the supernet and tell what is still missing."""
    from ofa_nas.cli.console import err, give_document, out, progress
    from ofa_nas.cli.torch_process import prepare_torch

    prepare_torch()
    from ofa_nas.pipeline.training.starting import bootstrap_supernet

    with progress("writing the supernet", total=None, quiet=args.json):
        started = bootstrap_supernet(
            args.start,
            output=args.output,
            data=args.data,
            space=args.space,
            seed=args.seed,
            fit=args.fit,
        )
    document = {
        "supernet": str(started.files.weights),
        "start": started.start,
        "classes": started.classes,
        "keeps_classifier": started.keeps_classifier,
        "licence": started.licence,
    }
    if give_document(args, document):
        return
    classifier = "kept" if started.keeps_classifier else "random, to be trained"
    out.print(f"classes   {started.classes}; classifier {classifier}")
    show_licence(started.licence)
    out.print(f"supernet  {started.files.weights}")
    if args.data is None:
        err.print("no images lie beside it: evaluate and export need those that --data brings")
