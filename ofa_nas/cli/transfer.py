"""`ofa-nas transfer`: a subnet learns another task in little memory, and is exported and checked."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ofa_nas.cli.training_run import follow, show_activity
from ofa_nas.cli.window_arguments import add_windows

if TYPE_CHECKING:
    from ofa_nas.cli.console import ProgressBar
    from ofa_nas.pipeline.deliver import Activity
    from ofa_nas.training.recipe import Recipe
    from ofa_nas.transfer.adapt import TransferEpoch

_METHODS = ("full", "last", "bn", "bias", "lite", "lite+bias")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `transfer`."""
    parser.add_argument(
        "--from",
        dest="start",
        required=True,
        metavar="SUBNET",
        help="architecture, such as 128/3x1/5x6.3x4/…, or smallest, middle or largest, "
        "or an fp32 ONNX file that ofa-nas exported",
    )
    parser.add_argument(
        "--supernet",
        default="efficientnet_lite",
        help="that an architecture is taken from: shipped, or a .safetensors file (efficientnet_lite)",
    )
    parser.add_argument(
        "--data",
        required=True,
        help="data set: a name, NAME=FOLDER, or a folder with one sub-folder a class, or with signals",
    )
    add_windows(parser)
    parser.add_argument("--method", default="lite+bias", choices=_METHODS, help="what is trained (lite+bias)")
    parser.add_argument(
        "--output", type=Path, default=Path("runs/transfer"), help="run folder (runs/transfer)"
    )
    parser.add_argument("--resume", action="store_true", help="continue the transfer in the run folder")
    parser.add_argument("--epochs", type=float, help="passes over the images, may be a fraction (5)")
    parser.add_argument("--batch-size", type=int, help="images a step (8)")
    parser.add_argument("--learning-rate", type=float, help="peak rate of Adam (the method's)")
    parser.add_argument("--crop-scale", type=float, help="least share of the area a crop keeps (0.35)")
    parser.add_argument("--image-size", type=int, help="side of the packed images [px] (native)")
    parser.add_argument("--held-out", type=int, default=1000, help="validation images of the reports (1000)")
    parser.add_argument(
        "--checkpoint-minutes", type=float, default=5.0, help="minutes between checkpoints (5)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (auto)")
    parser.add_argument("--threads", type=int, help="CPU threads of torch (all cores)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (0)")


def run(args: argparse.Namespace) -> int:
    """Train, export and check."""
    from ofa_nas.cli.torch_process import calm_threads

    calm_threads()
    import torch

    if args.threads is not None:
        torch.set_num_threads(args.threads)
    from ofa_nas.cli.console import give_document, out
    from ofa_nas.cli.delivery import show_delivery
    from ofa_nas.pipeline.transfer import TransferPlan, TransferredSubnet, transfer_subnet
    from ofa_nas.training.prepare import SplitSizes, pick_device

    plan = TransferPlan(
        subnet=args.start,
        supernet=args.supernet,
        data=args.data,
        recipe=_recipe(args),
        sizes=SplitSizes(reports=args.held_out, seed=args.seed),
        folder=args.output,
        image_size=args.image_size,
        resume=args.resume,
        checkpoint_minutes=args.checkpoint_minutes,
    )
    done = follow(
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
        "trained_parameters": done.trained_parameters,
        "epochs": done.epochs,
        "measured": delivery.measured(),
        "is_met": delivery.is_met,
    }
    if not give_document(args, document):
        out.print(f"trained   {done.trained_parameters:,} parameters ({args.method})")
        out.print(f"subnet    {done.files.weights}")
        show_delivery(delivery)
    return 0 if delivery.is_met else 1


def _recipe(args: argparse.Namespace) -> "Recipe":
    from ofa_nas.training.recipe import Settings
    from ofa_nas.transfer.adapt import transfer_recipe

    settings = Settings(
        epochs=args.epochs, learning_rate=args.learning_rate, crop_scale=args.crop_scale, seed=args.seed
    )
    return transfer_recipe(args.method, batch_size=args.batch_size).override(settings)


def _show(bar: "ProgressBar", record: "TransferEpoch | Activity") -> None:
    from ofa_nas.pipeline.deliver import Activity

    if isinstance(record, Activity):
        show_activity(bar, record)
    else:
        bar.tell(f"epoch {record.epoch:.2f}  loss {record.loss:.3f}  accuracy {record.accuracy:.1%}")
