"""`ofa-nas train`: train a supernet by the sandwich rule."""

import argparse
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ofa_nas.cli.console import ProgressBar
    from ofa_nas.data import Source
    from ofa_nas.data.packed import PackedImages
    from ofa_nas.training.recipe import SandwichRecipe
    from ofa_nas.training.train import EpochReport, StepReport


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--space", default="efficientnet_lite", help="search space, by name or TOML file")
    parser.add_argument(
        "--data", required=True, help="data set: a name, NAME=FOLDER, or a folder with one sub-folder a class"
    )
    parser.add_argument(
        "--from", dest="start", help="pretrained network to start from, e.g. efficientnet_lite0"
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
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of torch (all cores)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (0)")


def run(args: argparse.Namespace) -> None:
    """Train, report, and leave a supernet in the run folder."""
    os.environ.setdefault(
        "OMP_WAIT_POLICY", "passive"
    )  # spinning threads starve each other on a busy machine
    import torch

    from ofa_nas.cli.console import err, out, print_json, progress
    from ofa_nas.data import Normalization
    from ofa_nas.data.dataset import open_data
    from ofa_nas.provenance import record_provenance
    from ofa_nas.space.search_space import SearchSpace
    from ofa_nas.supernet.checkpoint import save_supernet
    from ofa_nas.supernet_card import SupernetCard
    from ofa_nas.training.allocator import keep_freed_memory
    from ofa_nas.training.prepare import SplitSizes, first_supernet, pick_device, training_data
    from ofa_nas.training.train import EpochReport, StepReport, train

    recipe = _recipe(args)
    keep_freed_memory()
    if args.threads:
        torch.set_num_threads(args.threads)
    device = pick_device(args.device)
    data = open_data(args.data)
    supernet = first_supernet(
        SearchSpace.load(args.space), data, start=args.start, seed=args.seed, device=device
    )
    packs = [_pack(source, args) for source in (data.train, data.val)]
    sizes = SplitSizes(held_out=args.held_out, seed=args.seed)
    prepared = training_data(packs[0], packs[1], sizes, normalization=Normalization())
    reports: list[EpochReport] = []
    stream = train(
        supernet,
        prepared,
        recipe,
        checkpoint=args.output / "checkpoint.safetensors",
        resume=args.resume,
        checkpoint_minutes=args.checkpoint_minutes,
    )
    total = recipe.total_steps(len(packs[0]))
    with progress("training", total=total, quiet=args.json) as bar:
        for report in stream:
            match report:
                case StepReport():
                    _show_step(bar, report)
                case EpochReport():
                    reports.append(report)
                    err.print(_epoch_line(report))
    card = SupernetCard(
        space=supernet.space,
        data=data.name,
        class_names=data.class_names,
        input_mean=prepared.normalization.mean,
        input_std=prepared.normalization.std,
        sha256="",
        made_by={
            "recipe": asdict(recipe),
            "start": args.start or "random weights",
            "history": [asdict(report) for report in reports],
            "provenance": record_provenance(seed=args.seed).to_json(),
        },
    )
    path = args.output / "supernet.safetensors"
    save_supernet(path, supernet, card)
    if args.json:
        print_json({"supernet": str(path), "history": [asdict(report) for report in reports]})
    else:
        out.print(f"supernet  {path}")


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


def _pack(source: "Source", args: argparse.Namespace) -> "PackedImages":
    from ofa_nas.cli.console import progress
    from ofa_nas.training.prepare import pack_split

    with progress("decoding", total=len(source), quiet=args.json) as bar:
        done = 0
        for record in pack_split(source, size_px=args.image_size):
            bar.advance(record.done - done)
            done = record.done
            if record.packed is not None:
                return record.packed
    raise AssertionError("packing ended without a pack")


def _show_step(bar: "ProgressBar", report: "StepReport") -> None:
    bar.advance(note=f"{report.images_per_s:.0f} images/s, loss {report.loss:.2f}")


def _epoch_line(report: "EpochReport") -> str:
    return (
        f"epoch {report.epoch:.2f}  loss {report.loss:.3f}  accuracy: smallest {report.smallest:.1%}, "
        f"middle {report.middle:.1%}, largest {report.largest:.1%}  ({report.elapsed_s / 60:.1f} min)"
    )
