"""`ofa-nas train`: train a supernet by the sandwich rule."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ofa_nas.pipeline.learning import TrainedSupernet, TrainingPlan
    from ofa_nas.training.recipe import SandwichRecipe
    from ofa_nas.training.train import EpochReport


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--space", help="search space, by name or TOML file (that of --from, else efficientnet_lite)"
    )
    parser.add_argument(
        "--data", required=True, help="data set: a name, NAME=FOLDER, or a folder with one sub-folder a class"
    )
    parser.add_argument(
        "--from",
        dest="start",
        help="what to start from: a supernet (efficientnet_lite, or a .safetensors file) "
        "or a pretrained network (efficientnet_lite0)",
    )
    parser.add_argument("--output", type=Path, default=Path("runs/train"), help="run folder (runs/train)")
    parser.add_argument("--resume", action="store_true", help="continue the training in the run folder")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (auto)")
    parser.add_argument(
        "--epochs", type=float, default=30.0, help="passes over the images, may be a fraction (30)"
    )
    parser.add_argument("--batch-size", type=int, default=64, help="images per step (64)")
    parser.add_argument("--learning-rate", type=float, default=0.05, help="peak rate (0.05)")
    parser.add_argument("--random-subnets", type=int, default=2, help="random subnets per step (2)")
    parser.add_argument(
        "--crop-scale", type=float, default=0.35, help="least share of the area a crop keeps (0.35)"
    )
    parser.add_argument("--image-size", type=int, help="side of the packed images [px] (native)")
    parser.add_argument("--held-out", type=int, default=1000, help="validation images of the reports (1000)")
    parser.add_argument(
        "--checkpoint-minutes", type=float, default=5.0, help="minutes between checkpoints (5)"
    )
    parser.add_argument("--threads", type=int, help="CPU threads of torch (all cores)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (0)")


def run(args: argparse.Namespace) -> None:
    """Train, report, and leave a supernet in the run folder."""
    from ofa_nas.cli.torch_process import prepare_torch

    prepare_torch(threads=args.threads)
    from ofa_nas.cli.console import out, print_json
    from ofa_nas.pipeline.learning import TrainingPlan
    from ofa_nas.training.prepare import SplitSizes

    plan = TrainingPlan(
        space=args.space,
        data=args.data,
        start=args.start,
        recipe=_recipe(args),
        sizes=SplitSizes(reports=args.held_out, seed=args.seed),
        folder=args.output,
        image_size=args.image_size,
        resume=args.resume,
        checkpoint_minutes=args.checkpoint_minutes,
    )
    trained = _follow(plan, args)
    if args.json:
        print_json({"supernet": str(trained.files.weights), "history": trained.history})
    else:
        out.print(f"supernet  {trained.files.weights}")


def _follow(plan: "TrainingPlan", args: argparse.Namespace) -> "TrainedSupernet":
    from ofa_nas.cli.console import err, progress
    from ofa_nas.data.packed import PackProgress
    from ofa_nas.pipeline.learning import TrainedSupernet, train_supernet
    from ofa_nas.training.prepare import pick_device
    from ofa_nas.training.train import EpochReport, StepReport

    with progress("training", total=None, quiet=args.json) as bar:
        for record in train_supernet(plan, device=pick_device(args.device)):
            match record:
                case PackProgress():
                    bar.move_to(0, note=f"decoding {record.done} of {record.total} images")
                case StepReport():
                    note = f"{record.images_per_s:.0f} images/s, loss {record.loss:.2f}"
                    bar.move_to(record.step, total=record.total_steps, note=note)
                case EpochReport():
                    err.print(_epoch_line(record))
                case TrainedSupernet():
                    return record
    raise AssertionError("a training ended without a supernet")


def _recipe(args: argparse.Namespace) -> "SandwichRecipe":
    from ofa_nas.training.recipe import SandwichRecipe

    return SandwichRecipe(
        epochs=args.epochs,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        random_subnets=args.random_subnets,
        crop_scale=args.crop_scale,
        seed=args.seed,
    )


def _epoch_line(report: "EpochReport") -> str:
    return (
        f"epoch {report.epoch:.2f}  loss {report.loss:.3f}  accuracy: smallest {report.smallest:.1%}, "
        f"middle {report.middle:.1%}, largest {report.largest:.1%}  ({report.elapsed_s / 60:.1f} min)"
    )
