"""`ofa-nas transfer`: a subnet learns another task in little memory, and is exported and checked."""

import argparse
from typing import TYPE_CHECKING

from ofa_nas.cli.delivery import show_delivery
from ofa_nas.cli.supernet_arguments import add_source_subnet
from ofa_nas.cli.training_arguments import (
    add_held_out,
    add_labelled_settings,
    add_run,
    add_settings,
    image_settings,
    kept_run,
)
from ofa_nas.cli.training_run import follow_training
from ofa_nas.cli.window_arguments import add_windows

if TYPE_CHECKING:
    from ofa_nas.cli.console import ProgressBar
    from ofa_nas.training.recipe import Recipe
    from ofa_nas.transfer.adapt import TransferEpoch

_METHODS = ("full", "last", "bn", "bias", "lite", "lite+bias")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `transfer`."""
    add_source_subnet(parser)
    parser.add_argument(
        "--data",
        required=True,
        help="data set: a name, NAME=FOLDER, or a folder with one sub-folder per class, of images or signals",
    )
    add_windows(parser)
    parser.add_argument(
        "--method", default="lite+bias", choices=_METHODS, help="what is trained [default: lite+bias]"
    )
    add_settings(parser, epochs="5", batch_size="8", learning_rate="the method's, of Adam", crop_scale="0.35")
    add_labelled_settings(parser)
    add_held_out(parser)
    add_run(parser, "runs/transfer", work="transfer")


def run(args: argparse.Namespace) -> int:
    """Train, export and check."""
    from ofa_nas.cli.torch_process import check_alone, pick_device, prepare_torch

    check_alone("transfer")
    prepare_torch(threads=args.threads, is_lean=True)
    from ofa_nas.cli.console import give_document, out
    from ofa_nas.pipeline.adapting.transfer import TransferPlan, TransferredSubnet, transfer_subnet
    from ofa_nas.training.splits import SplitSizes

    plan = TransferPlan(
        subnet=args.start,
        supernet=args.supernet,
        data=args.data,
        recipe=_recipe(args),
        sizes=SplitSizes(reports=args.held_out, seed=args.seed),
        **kept_run(args),
    )
    done = follow_training(
        transfer_subnet(plan, device=pick_device(args.device)),
        TransferredSubnet,
        show=_show,
        title="transferring",
        stopped=f"--resume continues in {plan.folder}",
        quiet=args.json,
    )
    assert done is not None
    delivery = done.delivery
    document = {
        "method": args.method,
        "subnet": str(done.files.weights),
        "file": str(delivery.path),
        "classes": done.classes,
        "keeps_classifier": done.keeps_classifier,
        "trained_parameters": done.trained_parameters,
        "epochs": done.epochs,
        "measured": delivery.measured(),
        "is_met": delivery.is_met,
        "licence": delivery.card.licence,
    }
    if not give_document(args, document):
        classifier = "kept: the subnet knew them all" if done.keeps_classifier else "new"
        out.print(f"classes   {done.classes}; classifier {classifier}")
        out.print(f"trained   {done.trained_parameters:,} parameters ({args.method})")
        out.print(f"subnet    {done.files.weights}")
        show_delivery(delivery)
    return 0 if delivery.is_met else 1


def _recipe(args: argparse.Namespace) -> "Recipe":
    from ofa_nas.training.recipe import Settings
    from ofa_nas.transfer.adapt import transfer_recipe

    settings = Settings(
        epochs=args.epochs,
        learning_rate=args.learning_rate,
        crop_scale=args.crop_scale,
        **image_settings(args),
        seed=args.seed,
    )
    return transfer_recipe(args.method, batch_size=args.batch_size).override(settings)


def _show(bar: "ProgressBar", epoch: "TransferEpoch") -> None:
    bar.tell(f"epoch {epoch.epoch:.2f}  loss {epoch.loss:.3f}  accuracy {epoch.accuracy:.1%}")
