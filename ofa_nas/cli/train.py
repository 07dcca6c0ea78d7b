"""`ofa-nas train`: train a supernet, by the sandwich rule or by progressive shrinking."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ofa_nas.cli.training_run import chosen_recipe, follow
from ofa_nas.cli.window_arguments import add_windows

if TYPE_CHECKING:
    from ofa_nas.training.train import EpochReport


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--space", help="search space, by name or TOML file (that of --from, else efficientnet_lite)"
    )
    parser.add_argument(
        "--data",
        required=True,
        help="data set: a name, NAME=FOLDER, or a folder with one sub-folder a class, or with signals",
    )
    add_windows(parser)
    parser.add_argument(
        "--from",
        dest="start",
        help="what to start from: a supernet (efficientnet_lite, or a .safetensors file) "
        "or a pretrained network (efficientnet_lite0)",
    )
    parser.add_argument("--output", type=Path, default=Path("runs/train"), help="run folder (runs/train)")
    parser.add_argument("--resume", action="store_true", help="continue the training in the run folder")
    parser.add_argument(
        "--recipe",
        default="sandwich",
        help="sandwich, progressive, shrink, refine, signals, or a .toml file of your own (sandwich)",
    )
    parser.add_argument(
        "--epochs", type=float, help="passes over the images, may be a fraction (the recipe's)"
    )
    parser.add_argument("--batch-size", type=int, help="images per step, over all processes (the recipe's)")
    parser.add_argument(
        "--learning-rate",
        type=float,
        help="peak rate of the first phase (the recipe's, in proportion to the batch size)",
    )
    parser.add_argument("--random-subnets", type=int, help="random subnets per step (the recipe's)")
    parser.add_argument(
        "--crop-scale", type=float, help="least share of the area a crop keeps (the recipe's)"
    )
    parser.add_argument("--image-size", type=int, help="side of the packed images [px] (native)")
    parser.add_argument("--held-out", type=int, default=1000, help="validation images of the reports (1000)")
    parser.add_argument(
        "--checkpoint-minutes", type=float, default=5.0, help="minutes between checkpoints (5)"
    )
    parser.add_argument(
        "--tensorboard", action="store_true", help="write scalars for TensorBoard into the run folder"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (auto)")
    parser.add_argument("--threads", type=int, help="CPU threads of torch (all cores)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (0)")


def run(args: argparse.Namespace) -> None:
    """Train, report, and leave a supernet in the run folder."""
    from ofa_nas.cli.torch_process import prepare_torch

    prepare_torch(threads=args.threads)
    from ofa_nas.cli.console import err, give_document, out
    from ofa_nas.pipeline.learning import TrainedSupernet, TrainingPlan, train_supernet
    from ofa_nas.training.distributed import join_ranks, leave_ranks
    from ofa_nas.training.prepare import SplitSizes, pick_device

    plan = TrainingPlan(
        space=args.space,
        data=args.data,
        start=args.start,
        recipe=chosen_recipe(args, "train"),
        sizes=SplitSizes(reports=args.held_out, seed=args.seed),
        folder=args.output,
        image_size=args.image_size,
        resume=args.resume,
        checkpoint_minutes=args.checkpoint_minutes,
        has_tensorboard=args.tensorboard,
    )
    device = pick_device(args.device)
    ranks = join_ranks(device)
    trained = follow(
        train_supernet(plan, device=device, ranks=ranks),
        TrainedSupernet,
        show=lambda _, report: err.print(_epoch_line(report)),
        title="training",
        stopped=f"--resume continues in {plan.folder}",
        quiet=args.json or not ranks.is_first,
        is_first=ranks.is_first,
    )
    leave_ranks()
    if trained is None:  # the first process tells
        return
    if not give_document(args, {"supernet": str(trained.files.weights), "history": trained.history}):
        out.print(f"supernet  {trained.files.weights}")


def _epoch_line(report: "EpochReport") -> str:
    return (
        f"epoch {report.epoch:.2f} ({report.phase})  loss {report.loss:.3f}  accuracy: "
        f"smallest {report.smallest:.1%}, middle {report.middle:.1%}, largest {report.largest:.1%}  "
        f"({report.elapsed_s / 60:.1f} min)"
    )
