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
    parser.add_argument(
        "--output", metavar="FOLDER", type=Path, default=Path(folder), help=f"run folder [default: {folder}]"
    )
    parser.add_argument("--resume", action="store_true", help=f"continue the {work} in the run folder")
    parser.add_argument(
        "--image-size",
        metavar="PX",
        type=int,
        help="size of the packed images in pixels [default: their own]",
    )
    add_fit(parser)
    parser.add_argument(
        "--checkpoint-minutes",
        metavar="MINUTES",
        type=float,
        help=f"{kept}minutes between checkpoints [default: 5]",
    )
    parser.add_argument(
        "--tensorboard",
        action="store_true",
        default=None,
        help=f"{kept}write TensorBoard scalars into the run folder",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N [default: auto]")
    parser.add_argument(
        "--threads",
        metavar="COUNT",
        type=int,
        help="CPU threads of torch [default: all cores, or the CPU quota]",
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed [default: 0]")


def add_fit(parser: argparse.ArgumentParser) -> None:
    """Add how images that are not square become so."""
    parser.add_argument(
        "--fit",
        choices=("crop", "pad", "stretch"),
        help="images that are not square: crop to the central square, pad with grey, or stretch "
        "[default: that of --from, else crop]",
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
    parser.add_argument(
        "--epochs",
        metavar="COUNT",
        type=float,
        help=f"passes over the images; may be a fraction [default: {epochs}]",
    )
    parser.add_argument(
        "--batch-size", metavar="COUNT", type=int, help=f"images per step [default: {batch_size}]"
    )
    parser.add_argument(
        "--learning-rate", metavar="RATE", type=float, help=f"peak learning rate [default: {learning_rate}]"
    )
    parser.add_argument(
        "--crop-scale",
        metavar="SHARE",
        type=float,
        help=f"smallest fraction of the image area that a random crop keeps [default: {crop_scale}]",
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
        help="random mirroring of images: horizontal, both (also top to bottom), or none [default: "
        f"{of}horizontal]",
    )


def add_labelled_settings(parser: argparse.ArgumentParser, *, of: str = "") -> None:
    """Add how images are changed, and the share of each class, where training is by labels.

    Args:
        parser: Of the command.
        of: Whose defaults they are, before them, such as `the recipe's, `.
    """
    add_flip(parser, of=of)
    parser.add_argument(
        "--brightness",
        metavar="AMOUNT",
        type=float,
        help=f"strongest random change of brightness [default: {of}32/255]",
    )
    parser.add_argument(
        "--saturation",
        metavar="AMOUNT",
        type=float,
        help=f"strongest random change of colour saturation [default: {of}0.5]",
    )
    parser.add_argument(
        "--balance",
        metavar="SHARE",
        type=float,
        help="how far to balance classes: 0 draws them as often as they occur, 1 equally often "
        f"[default: {of}0]",
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
    parser.add_argument(
        "--random-subnets", metavar="COUNT", type=int, help="random subnets per step [default: the recipe's]"
    )


def add_held_out(parser: argparse.ArgumentParser) -> None:
    """Add how many images the reports look at."""
    parser.add_argument(
        "--held-out",
        metavar="COUNT",
        type=int,
        default=1000,
        help="validation images used for the reports [default: 1000]",
    )
