"""How accurate is each method of transfer to CIFAR-10 or other data, and how much memory does it take?

    python -m benchmarks.bench_transfer [--subnets smallest] [--epochs 3] [--images 4000] [--no-memory]

Every method learns from the same images in the same order; accuracy is on all test images, which
choose nothing. A checkpoint is kept for each transfer, so a run that was stopped goes on.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from ofa_nas.accuracy import wilson_interval
from ofa_nas.cli.console import make_table, wide
from ofa_nas.data.dataset import open_data
from ofa_nas.data.packed import PackedImages
from ofa_nas.data.sample import balanced_indices, decode
from ofa_nas.pipeline.adapting.transfer_memory import MethodMemory, method_memories
from ofa_nas.pipeline.adapting.transfer_source import SourceSubnet, named_subnet, open_subnet
from ofa_nas.provenance import record_provenance
from ofa_nas.supernet.supernet import place
from ofa_nas.training.evaluate import count_correct
from ofa_nas.training.loop import Checkpointing
from ofa_nas.training.recipe import Recipe, Settings
from ofa_nas.training.splits import TrainingData
from ofa_nas.transfer.adapt import TransferEpoch, adapt, transfer_recipe
from ofa_nas.transfer.methods import METHODS
from ofa_nas.transfer.network import TransferNetwork, transfer_space

_REPORT_IMAGES = 20  # looked at after each epoch, to see that it learns


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one method made of one subnet."""

    subnet: str
    method: str
    correct: int
    images: int
    trained_parameters: int
    minutes: float

    @property
    def accuracy(self) -> float:
        """Top-1 on the test images."""
        return self.correct / self.images


def main(argv: Sequence[str] | None = None) -> None:
    """Transfer, measure, print a table and one JSON line."""
    args = _arguments(argv)
    torch.set_num_threads(args.threads)
    train, test = _images(args.data, args.images, seed=args.seed)
    outcomes: list[Outcome] = []
    for subnet in args.subnets:
        source = open_subnet(subnet, args.supernet)
        for method in args.methods:
            outcome = _transfer(source, method, train, test, args)
            outcomes.append(outcome)
            sys.stderr.write(f"{subnet} {method}: {outcome.accuracy:.1%}, {outcome.minutes:.1f} min\n")
    memories = [] if args.no_memory else list(_memories(args))
    _show(outcomes, memories)
    print(
        json.dumps(
            {
                "benchmark": "transfer",
                "settings": {key: str(value) for key, value in vars(args).items()},
                "outcomes": [asdict(outcome) for outcome in outcomes],
                "memory": [asdict(memory) for memory in memories],
                "provenance": record_provenance(seed=args.seed).to_json(),
            }
        )
    )


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--supernet", default="efficientnet_lite")
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--subnets", nargs="+", default=["smallest"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--images", type=int, default=4000, help="training images, of 8068 (4000)")
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--crop-scale", type=float)
    parser.add_argument("--memory-batches", type=int, nargs="+", default=[8, 1])
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("runs/bench_transfer"))
    return parser.parse_args(argv)


def _images(name: str, count: int, *, seed: int) -> tuple[PackedImages, PackedImages]:
    data = open_data(name)
    per_class = -(-count // len(data.class_names))
    rows = balanced_indices(data.train.labels, per_class, np.random.default_rng(seed))
    return decode(data.train.subset(np.sort(rows[:count]))), decode(data.val)


def transferred(
    source: SourceSubnet, train: PackedImages, test: PackedImages, recipe: Recipe, *, path: Path
) -> TransferNetwork:
    """A subnet that learnt training images by the method that the recipe's phase is named after.

    Args:
        source: Whose weights it begins with; its classifier begins anew.
        train: What it learns from.
        test: A few of which are looked at after each epoch.
        recipe: Of `transfer_recipe`.
        path: Checkpoint; a transfer that was stopped goes on from it.
    """
    method = METHODS[recipe.phases[0].name]
    space = transfer_space(source.space, source.arch, classes=len(train.class_names), method=method)
    network = TransferNetwork(space, method)
    network.load_folded(source.weights, list(source.space.layers(source.arch)), where=source.name)
    network.initialise(torch.Generator().manual_seed(recipe.seed))
    place(network, torch.device("cpu"))
    few = test.subset(np.arange(_REPORT_IMAGES))
    data = TrainingData(train, few, train.images[:0], source.normalization)
    checkpointing = Checkpointing(path, path.is_file(), 2.0, source.name)
    for report in adapt(network, data, recipe, checkpointing=checkpointing):
        if isinstance(report, TransferEpoch):
            sys.stderr.write(f"  epoch {report.epoch:.2f}: loss {report.loss:.3f}\n")
    return network


def _transfer(
    source: SourceSubnet, name: str, train: PackedImages, test: PackedImages, args: argparse.Namespace
) -> Outcome:
    settings = Settings(
        epochs=args.epochs, learning_rate=args.learning_rate, crop_scale=args.crop_scale, seed=args.seed
    )
    recipe = transfer_recipe(name, batch_size=args.batch_size).override(settings)
    path = args.folder / source.space.digest / str(source.arch).replace("/", "-") / f"{name}.safetensors"
    began = time.process_time()
    network = transferred(source, train, test, recipe, path=path)
    minutes = (time.process_time() - began) / 60.0
    count = sum(value.numel() for value in network.trained().values())
    correct = count_correct(network, test, normalization=source.normalization)
    return Outcome(str(source.arch), name, correct, len(test), count, minutes)


def _memories(args: argparse.Namespace) -> Iterator[MethodMemory]:
    space, arch = named_subnet(args.subnets[-1], args.supernet)
    for batch_size in args.memory_batches:
        yield from method_memories(space, arch, methods=tuple(args.methods), batch_size=batch_size)


def _show(outcomes: list[Outcome], memories: list[MethodMemory]) -> None:
    table = make_table("subnet", "method", "trained", "top-1", "± at 90 %", "CPU min")
    for one in outcomes:
        low, high = wilson_interval(one.correct, one.images)
        cells = (f"{one.accuracy:.1%}", f"{50 * (high - low):.1f}", f"{one.minutes:.1f}")
        table.add_row(one.subnet, one.method, f"{one.trained_parameters:,}", *cells)
    wide.print(table)
    table = make_table(
        "method", "batch", "account", "kept: ours", "PyTorch", "growth: ours", "PyTorch", "Adam's state"
    )
    for memory in memories:
        ours, other = memory.growth, memory.growth_by_torch
        figures = (
            memory.account,
            memory.kept,
            memory.kept_by_torch,
            ours and ours.step,
            other and other.step,
            ours and ours.state,
        )
        cells_of = [f"{float(value or 0) / 1e6:.1f}" for value in figures]
        table.add_row(memory.method, str(memory.batch_size), *cells_of)
    if memories:
        wide.print(table)


if __name__ == "__main__":
    main()
