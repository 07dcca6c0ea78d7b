"""Arguments of commands that train: the run folder, the recipe's numbers, and what the reports look at."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ofa_nas.training.recipe import Settings

_FLIPS = ("horizontal", "none", "both")  # as Flip of ofa_nas.data, which imports numpy


def add_run(parser: argparse.ArgumentParser, folder: str, *, work: str, kept: str = "") -> None:
    """Add where a training is kept, what it runs on, and its seed.

    Args:
        parser: Of the command.
        folder: Where it is kept unless `--output` says otherwise.
        work: What it is called, such as `training`.
        kept: What alone has checkpoints, for the help of `--checkpoint-minutes`.
    """
    parser.add_argument("--output", type=Path, default=Path(folder), help=f"run folder ({folder})")
    parser.add_argument("--resume", action="store_true", help=f"continue the {work} in the run folder")
    parser.add_argument("--image-size", type=int, help="side of the packed images [px] (native)")
    add_fit(parser)
    parser.add_argument("--checkpoint-minutes", type=float, help=f"{kept}minutes between checkpoints (5)")
    parser.add_argument(
        "--tensorboard",
        action="store_true",
        default=None,
        help=f"{kept}write scalars for TensorBoard into the run folder",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (auto)")
    parser.add_argument(
        "--threads", type=int, help="CPU threads of torch (all cores, or what a CPU quota leaves)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (0)")


def add_fit(parser: argparse.ArgumentParser) -> None:
    """Add how images that are not square become so."""
    parser.add_argument(
        "--fit",
        choices=("crop", "pad", "stretch"),
        help="images that are not square: their central square, all of each on a grey square, or each side "
        "resized (that of --from; else crop)",
    )


def kept_run(args: argparse.Namespace) -> dict[str, Any]:
    """What the arguments of `add_run` and `add_settings` say for a `RunPlan`."""
    minutes = args.checkpoint_minutes
    return {
        "folder": args.output,
        "image_size": args.image_size,
        "fit": args.fit,
        "resume": args.resume,
        "has_own_rate": args.learning_rate is not None,
        "has_tensorboard": bool(args.tensorboard),
        **({} if minutes is None else {"checkpoint_minutes": minutes}),
    }


def add_settings(
    parser: argparse.ArgumentParser, *, epochs: str, batch_size: str, learning_rate: str, crop_scale: str
) -> None:
    """Add the numbers of a recipe that can be changed; the texts say what they are otherwise."""
    parser.add_argument("--epochs", type=float, help=f"passes over the images, may be a fraction ({epochs})")
    parser.add_argument("--batch-size", type=int, help=f"images a step ({batch_size})")
    parser.add_argument("--learning-rate", type=float, help=f"peak learning rate ({learning_rate})")
    parser.add_argument(
        "--crop-scale", type=float, help=f"least share of the area a crop keeps ({crop_scale})"
    )


def add_flip(parser: argparse.ArgumentParser, *, of: str = "") -> None:
    """Add whether images are mirrored.

    Args:
        parser: Of the command.
        of: Whose default it is, before it, such as `the recipe's, `.
    """
    parser.add_argument(
        "--flip",
        choices=_FLIPS,
        help="horizontal: half of the images are mirrored; both: half are flipped top to bottom too; none "
        f"({of}horizontal)",
    )


def add_labelled_settings(parser: argparse.ArgumentParser, *, of: str = "") -> None:
    """Add how images are changed, and the share of each class, where training is by labels.

    Args:
        parser: Of the command.
        of: Whose defaults they are, before them, such as `the recipe's, `.
    """
    add_flip(parser, of=of)
    parser.add_argument(
        "--brightness", type=float, help=f"most by which images grow brighter or darker ({of}32/255)"
    )
    parser.add_argument(
        "--saturation", type=float, help=f"most by which colours grow stronger or paler ({of}0.5)"
    )
    parser.add_argument(
        "--balance", type=float, help=f"0: classes as often as they are; 1: all equally often ({of}0)"
    )


def own_settings(args: argparse.Namespace) -> "Settings":
    """What the arguments of all functions here change of a recipe."""
    from ofa_nas.training.recipe import Settings

    return Settings(
        epochs=args.epochs,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        random_subnets=vars(args).get("random_subnets"),
        crop_scale=args.crop_scale,
        **image_settings(args),
        seed=args.seed,
    )


def image_settings(args: argparse.Namespace) -> dict[str, Any]:
    """What the arguments of `add_labelled_settings` change of a recipe, or `add_flip`, for `Settings`."""
    return {name: vars(args).get(name) for name in ("flip", "brightness", "saturation", "balance")}


def add_supernet_training(parser: argparse.ArgumentParser) -> None:
    """Add what only the training of a whole supernet has."""
    parser.add_argument("--random-subnets", type=int, help="random subnets a step (the recipe's)")


def add_held_out(parser: argparse.ArgumentParser) -> None:
    """Add how many images the reports look at."""
    parser.add_argument("--held-out", type=int, default=1000, help="validation images of the reports (1000)")
