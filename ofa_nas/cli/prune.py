"""`ofa-nas prune`: a subnet loses weights or channels, is trained, exported and checked."""

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ofa_nas.cli.delivery import show_delivery
from ofa_nas.cli.supernet_arguments import add_source_subnet
from ofa_nas.cli.training_arguments import (
    add_held_out,
    add_labelled_settings,
    add_run,
    add_settings,
    kept_run,
    own_settings,
)
from ofa_nas.cli.training_run import follow_training
from ofa_nas.figures import format_bytes, format_count

if TYPE_CHECKING:
    from ofa_nas.cli.console import ProgressBar
    from ofa_nas.pipeline.adapting.prune import PrunedSubnet, PrunePlan
    from ofa_nas.pruning.state import Round
    from ofa_nas.training.train import EpochReport


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `prune`."""
    add_source_subnet(parser)
    parser.add_argument(
        "--data", required=True, help="images of the subnet's own classes: a name, NAME=FOLDER, or a folder"
    )
    parser.add_argument(
        "--method",
        default="channel",
        choices=("channel", "imp"),
        help="channel removes channels, for a smaller and faster file; imp (iterative magnitude "
        "pruning, lottery tickets) zeroes weights, which only makes the compressed file "
        "smaller [default: channel]",
    )
    parser.add_argument(
        "--keep",
        metavar="SHARE",
        type=float,
        help="channel: fraction of each block's middle channels to keep [default: 0.5]",
    )
    parser.add_argument("--rounds", metavar="COUNT", type=int, help="imp: rounds of pruning [default: 5]")
    parser.add_argument(
        "--share",
        metavar="SHARE",
        type=float,
        help="imp: fraction of the remaining weights to prune in each round [default: 0.2]",
    )
    parser.add_argument(
        "--scope",
        choices=("global", "layer"),
        help="imp: rank weights over the whole network (global) or in each layer (layer) [default: global]",
    )
    parser.add_argument(
        "--rewind",
        metavar="STEP",
        type=int,
        help="imp: step to which the remaining weights are rewound [default: 0]",
    )
    parser.add_argument(
        "--from-scratch",
        action="store_true",
        help="draw new random weights: before the first round (imp), or after the cut (channel)",
    )
    add_settings(
        parser,
        epochs="5; by imp of each round",
        batch_size="64",
        learning_rate="0.02 for 64 images, of SGD",
        crop_scale="0.35",
    )
    add_labelled_settings(parser)
    add_held_out(parser)
    add_run(parser, "runs/prune", work="pruning", kept="channel: ")


def run(args: argparse.Namespace) -> int:
    """Prune, train, export and check."""
    from ofa_nas.cli.torch_process import check_alone, pick_device, prepare_torch

    check_alone("prune")
    prepare_torch(threads=args.threads, is_lean=True)
    from ofa_nas.cli.console import give_document
    from ofa_nas.pipeline.adapting.prune import PrunedSubnet, prune_subnet

    kept = "after the last complete round " if args.method == "imp" else ""
    done = follow_training(
        prune_subnet(_plan(args), device=pick_device(args.device)),
        PrunedSubnet,
        show=_tell,
        title="pruning",
        stopped=f"--resume continues {kept}in {args.output}",
        quiet=args.json,
    )
    assert done is not None
    if not give_document(args, _document(args.method, done)):
        _show(args.method, done)
    return 0 if done.delivery.is_met else 1


def _plan(args: argparse.Namespace) -> "PrunePlan":
    from ofa_nas.errors import ConfigError
    from ofa_nas.pipeline.adapting.prune import PrunePlan, prune_recipe
    from ofa_nas.training.splits import SplitSizes

    own = {
        "channel": ("keep", "checkpoint_minutes", "tensorboard"),
        "imp": ("rounds", "share", "scope", "rewind"),
    }
    other = next(name for name in own if name != args.method)
    for name in own[other]:
        if getattr(args, name) is not None:
            option = name.replace("_", "-")
            raise ConfigError(
                f"--{option} only applies to --method {other}; leave it out with --method {args.method}"
            )
    given = {name: getattr(args, name) for name in own[args.method] if getattr(args, name) is not None}
    return PrunePlan(
        subnet=args.start,
        supernet=args.supernet,
        data=args.data,
        method=args.method,
        recipe=prune_recipe().override(own_settings(args)),
        sizes=SplitSizes(reports=args.held_out, seed=args.seed),
        from_scratch=args.from_scratch,
        **(kept_run(args) | given),
    )


def _document(method: str, done: "PrunedSubnet") -> dict[str, Any]:
    return {
        "method": method,
        "subnet": str(done.files.weights),
        "file": str(done.delivery.path),
        "before": asdict(done.before),
        "after": asdict(done.after),
        "zeros": done.zeros,
        "gzip_bytes": done.gzip_bytes,
        "rounds": [asdict(one) for one in done.rounds],
        "epochs": [
            {"step": one.step, "epoch": one.epoch, "loss": one.loss, "accuracy": one.largest}
            for one in done.epochs
        ],
        "measured": done.delivery.measured(),
        "is_met": done.delivery.is_met,
        "licence": done.delivery.card.licence,
    }


def _show(method: str, done: "PrunedSubnet") -> None:
    from ofa_nas.cli.console import make_table, out

    if done.rounds:
        table = make_table("round", "weights left", "", "loss", "held-out top-1")
        for one in done.rounds:
            left = (f"{one.remaining:,}", f"{one.remaining / one.weights:.1%}")
            table.add_row(str(one.round), *left, f"{one.loss:.3f}", f"{one.accuracy:.1%}")
        out.print(table)
    before, after = done.before, done.after
    out.print(f"MACs      {format_count(before.macs)} before, {format_count(after.macs)} after")
    out.print(f"weights   {before.parameters:,} before, {after.parameters:,} after, {done.zeros:,} of them 0")
    size = done.delivery.path.stat().st_size
    out.print(f"file      {format_bytes(size)}, {format_bytes(done.gzip_bytes)} compressed by gzip")
    if method == "imp":
        out.print(
            "note      zeros make the download smaller and nothing faster: ONNX Runtime multiplies by them "
            "as by any weight; --method channel makes a faster file"
        )
    out.print(f"subnet    {done.files.weights}")
    show_delivery(done.delivery)


def _tell(bar: "ProgressBar", record: "EpochReport | Round") -> None:
    from ofa_nas.training.train import EpochReport

    if isinstance(record, EpochReport):
        bar.tell(f"epoch {record.epoch:.2f}  loss {record.loss:.3f}  accuracy {record.largest:.1%}")
    else:
        left = record.remaining / record.weights
        bar.tell(
            f"round {record.round}  weights left {left:.1%}  loss {record.loss:.3f}  "
            f"accuracy {record.accuracy:.1%}"
        )
