"""Is it better to prune and retrain, or to search the supernet for subnets of about the same cost?

    python -m benchmarks.bench_pruning [--epochs 0.2] [--keep 0.5] [--train-only] [--no-training]

The supernet's largest subnet loses channels and is trained for a while. Beside it stand subnets that an exact
search finds for rising budgets of MACs; they are not trained. All files are timed interleaved in one session,
with the dense file and the dense file full of zeros. Accuracies are on the held-out images beside the
supernet, which neither training nor search saw. A training that was stopped goes on; `--train-only` leaves
the timing to a quiet hour.
"""

import argparse
import gzip
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from ofa_nas.cli.console import make_table, wide
from ofa_nas.data.packed import PackedImages
from ofa_nas.data.sample import load_images
from ofa_nas.devices import HOST, MeasuringProtocol, Model, open_device
from ofa_nas.export.card import ModelCard, read_model
from ofa_nas.export.export import export_subnet, model_card
from ofa_nas.export.ort_model import OrtModel
from ofa_nas.files import write_json
from ofa_nas.latency.measure import Measurement, measure
from ofa_nas.pipeline.adapting.prune import PrunedSubnet, PrunePlan, prune_recipe, prune_subnet
from ofa_nas.pipeline.searching.estimators import Estimators
from ofa_nas.pipeline.searching.search import SearchResult, search_supernet
from ofa_nas.provenance import record_provenance
from ofa_nas.pruning.masks import prune_smallest
from ofa_nas.search.budgets import Budget
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.costs import network_macs
from ofa_nas.supernet.checkpoint import load_supernet
from ofa_nas.supernet.supernet import Supernet
from ofa_nas.supernet_card import SupernetCard, SupernetFiles
from ofa_nas.training.recipe import Settings
from ofa_nas.training.splits import SplitSizes
from ofa_nas.training.train import EpochReport

RUNGS = (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35)  # MACs of the searched subnets over those of the pruned one
ZEROS = 0.8  # share of the dense file's weights that become 0


@dataclass(frozen=True, slots=True)
class Row:
    """One file.

    Attributes:
        network: What it is.
        architecture: Its text.
        macs: Multiply-accumulates.
        latency_ms: Median on this machine, one thread [ms].
        low_ms: Lower end of the 95 % interval [ms].
        high_ms: Upper end [ms].
        accuracy: Top-1 on the held-out images; None where it was not trained with what it lacks.
        file_bytes: Size.
        gzip_bytes: Size, compressed.
        cpu_seconds: Of the training beyond the supernet's.
        images: Learnt from in that training, repetitions counted.
    """

    network: str
    architecture: str
    macs: int
    latency_ms: float
    low_ms: float
    high_ms: float
    accuracy: float | None
    file_bytes: int
    gzip_bytes: int
    cpu_seconds: float = 0.0
    images: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class File:
    """A model before it is timed."""

    network: str
    card: ModelCard
    model: onnx.ModelProto
    cpu_seconds: float = 0.0
    images: int = 0


def main(argv: Sequence[str] | None = None) -> None:
    """Train, measure, print a table and one JSON line."""
    args = _arguments(argv)
    torch.set_num_threads(args.threads)
    files = SupernetFiles.find(args.supernet)
    card = SupernetCard.load(files.card)
    arch = replace(card.space.largest, resolution=args.resolution or card.space.resolutions[0])
    card.space.check(arch)
    pruned = None if args.no_training else _prune(arch, card, args)
    if args.train_only:
        return
    supernet, _ = load_supernet(files)
    calibration, held_out = load_images(files.calibration), load_images(files.held_out)
    dense = _extract("dense", arch, files, supernet, calibration)
    others = [dense, replace(dense, network=f"dense, {ZEROS:.0%} zeros", model=_with_zeros(dense.model))]
    own = dense.card if pruned is None else pruned.card
    most = network_macs(own.space, own.arch)
    others += [
        _extract("searched", searched, files, supernet, calibration)
        for searched in _searched(args.supernet, most, seed=args.seed)
    ]
    rows = _measure([*others, *([pruned] if pruned else [])], held_out.subset(np.arange(args.held_out)), args)
    _show(rows)
    document = {
        "benchmark": "pruning",
        "settings": {key: str(value) for key, value in vars(args).items()},
        "rows": [asdict(row) for row in rows],
        "provenance": record_provenance(seed=args.seed).to_json(),
    }
    print(json.dumps(document))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--supernet", default="efficientnet_lite")
    parser.add_argument("--data", default="tiny_imagenet")
    parser.add_argument("--resolution", type=int, default=112, help="0 for the lowest (112)")
    parser.add_argument("--keep", type=float, default=0.5)
    parser.add_argument("--epochs", type=float, default=0.2)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--held-out", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=20, help="visits of the timing (20)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train-only", action="store_true", help="stop after the training")
    parser.add_argument("--no-training", action="store_true", help="leave the pruned network out")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench_pruning"))
    return parser.parse_args(argv)


def _prune(arch: Architecture, card: SupernetCard, args: argparse.Namespace) -> File:
    """Prune and train, or take what an earlier call left; the cost lies beside it."""
    folder = args.folder / f"{card.sha256[:8]}-{arch.resolution}-{args.keep}-{args.epochs}-{args.seed}"
    cost, path = folder / "cost.json", folder / "subnet.onnx"
    if not cost.is_file():
        _train(str(arch), folder, cost, args)
    told = json.loads(cost.read_text())
    model = read_model(path)
    return File("pruned", ModelCard.from_model(model, path), model, told["cpu_seconds"], told["images"])


def _train(arch: str, folder: Path, cost: Path, args: argparse.Namespace) -> None:
    settings = Settings(
        epochs=args.epochs, batch_size=args.batch_size, learning_rate=args.learning_rate, seed=args.seed
    )
    plan = PrunePlan(
        subnet=arch,
        supernet=args.supernet,
        data=args.data,
        method="channel",
        recipe=prune_recipe().override(settings),
        sizes=SplitSizes(reports=min(500, args.held_out), seed=args.seed),
        folder=folder,
        keep=args.keep,
        resume=(folder / "checkpoint.safetensors").is_file(),
        checkpoint_minutes=2.0,
    )
    began = time.process_time()
    for record in prune_subnet(plan, device=torch.device("cpu")):
        if isinstance(record, EpochReport):
            sys.stderr.write(f"epoch {record.epoch:.2f}: loss {record.loss:.3f}, {record.largest:.1%}\n")
            steps = record.step
        elif isinstance(record, PrunedSubnet):
            # Of this process: after an interruption, what was spent before is not in it.
            seconds = time.process_time() - began
            write_json(
                cost,
                {"cpu_seconds": seconds, "images": steps * args.batch_size, "was_resumed": plan.resume},
            )


def _searched(supernet: str, macs: int, *, seed: int) -> Iterator[Architecture]:
    """The most accurate subnets, by the predictor, of rising budgets of MACs; each once."""
    budgets = [Budget("macs", round(macs * rung), "MACs") for rung in RUNGS]
    estimators = Estimators.load(supernet)
    found = [
        record
        for record in search_supernet(estimators, budgets, seed=seed)
        if isinstance(record, SearchResult)
    ]
    yield from dict.fromkeys(result.chosen.architecture for result in found)


def _extract(
    network: str,
    arch: Architecture,
    files: SupernetFiles,
    supernet: Supernet,
    calibration: PackedImages,
) -> File:
    card = model_card(files.name, SupernetCard.load(files.card), arch, {})
    _, model = export_subnet(supernet, card, calibration=calibration.images)
    return File(network, card, model)


def _with_zeros(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model, its smallest weights 0."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    tensors = {one.name: one for one in copy.graph.initializer if len(one.dims) > 1}
    weights = {name: torch.from_numpy(numpy_helper.to_array(one).copy()) for name, one in tensors.items()}
    full = {name: torch.ones_like(value, dtype=torch.bool) for name, value in weights.items()}
    masks = prune_smallest(weights, full, share=ZEROS, scope="global", halved=frozenset())
    for name, one in tensors.items():
        one.CopyFrom(numpy_helper.from_array((weights[name] * masks[name]).numpy(), name))
    return copy


def _measure(files: Sequence[File], split: PackedImages, args: argparse.Namespace) -> list[Row]:
    models = [Model(f"{number}", one.model.SerializeToString()) for number, one in enumerate(files)]
    protocol = MeasuringProtocol(rounds=args.rounds, max_rounds=args.rounds)
    records = measure(open_device(HOST), models, protocol=protocol)
    times = {record.model: record for record in records if isinstance(record, Measurement)}
    return [
        Row(
            network=one.network,
            architecture=str(one.card.arch),
            macs=network_macs(one.card.space, one.card.arch),
            latency_ms=times[model.name].latency_ms,
            low_ms=times[model.name].low_ms,
            high_ms=times[model.name].high_ms,
            accuracy=None if "zeros" in one.network else _top1(one, split),
            file_bytes=len(model.content),
            gzip_bytes=len(gzip.compress(model.content, mtime=0)),
            cpu_seconds=one.cpu_seconds,
            images=one.images,
        )
        for one, model in zip(files, models, strict=True)
    ]


def _top1(one: File, split: PackedImages) -> float:
    logits = OrtModel(one.model, one.card.normalization).logits(split.images)
    return float((logits.argmax(axis=1) == split.labels).mean())


def _show(rows: Sequence[Row]) -> None:
    figures = ("M MACs", "ms", "95 %", "top-1", "file MB", "gzip MB", "CPU s", "images")
    table = make_table("network", "architecture", *figures)
    for row in sorted(rows, key=lambda row: row.latency_ms):
        table.add_row(
            row.network,
            row.architecture,
            f"{row.macs / 1e6:.1f}",
            f"{row.latency_ms:.3f}",
            f"{row.low_ms:.3f} to {row.high_ms:.3f}",
            "" if row.accuracy is None else f"{row.accuracy:.1%}",
            f"{row.file_bytes / 1e6:.2f}",
            f"{row.gzip_bytes / 1e6:.2f}",
            f"{row.cpu_seconds:.0f}",
            f"{row.images:,}",
        )
    wide.print(table)


if __name__ == "__main__":
    main()
