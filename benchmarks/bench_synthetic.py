"""What are features worth that were learnt from real, from synthetic and from no images, without labels?

One encoder, the largest subnet of a supernet for 32 px, is pretrained from the same first weights by the same
steps on as many images of each kind. A linear probe on the frozen features then classifies real images. The
same supernets are then trained with few labels, and with all.

    python -m benchmarks.bench_synthetic [--seeds 0 1 2] [--steps 250] [--folder runs/bench_synthetic]

What is done is kept in the folder, so a run that was stopped goes on, and several processes may share the
seeds.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.linear_probe import pooled_features, probe
from ofa_nas.cli.console import make_table, wide
from ofa_nas.data.dataset import open_data
from ofa_nas.data.packed import PackedImages
from ofa_nas.data.sample import balanced_indices, decode
from ofa_nas.data.synthetic import SyntheticImages, write_synthetic
from ofa_nas.data.unlabelled import open_unlabelled
from ofa_nas.pipeline.training.pretraining import with_classifier
from ofa_nas.provenance import record_provenance
from ofa_nas.training.allocator import keep_freed_memory
from ofa_nas.training.evaluate import accuracy_of, calibrated_subnet
from ofa_nas.training.first_supernet import FirstSupernet, first_encoder
from ofa_nas.training.loop import Checkpointing
from ofa_nas.training.phase import Phase
from ofa_nas.training.pretrain import pretrain
from ofa_nas.training.recipe import Recipe, Settings
from ofa_nas.training.splits import TrainingData
from ofa_nas.training.state import EpochEnd
from ofa_nas.training.train import train

STARTS = ("random", "random-closed", "noise", "dead-leaves", "real")
UNTRAINED = STARTS[:2]  # the first weights of a pretraining; of a training: residual branches begin at zero
_CALIBRATION = 1000  # real images, without labels, of the batch norms that are judged
_FEW = Phase("labels", "largest", epochs=1.0, learning_rate=0.04, warmup=0.05)
_FEW_BATCH = 32


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one start came to.

    Attributes:
        settings: Everything that figures depend on but start and seed.
        start: One of `STARTS`.
        seed: Of first weights, batches and views.
        terms: Parts of the loss in the last epoch of the pretraining; none of random weights.
        probes: Top-1 of the linear probe by what it sees, in [0, 1].
        largest: Top-1 of the largest subnet after training by labels, by the share of them.
        smallest: Of the smallest.
        minutes: Of CPU.
    """

    settings: str
    start: str
    seed: int
    terms: dict[str, float]
    probes: dict[str, float]
    largest: dict[str, float]
    smallest: dict[str, float]
    minutes: float


def main(argv: Sequence[str] | None = None) -> None:
    """Pretrain, probe, train by labels; print two tables and one JSON line."""
    args = _arguments(argv)
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    data = open_data(args.data)
    train_images, test_images = decode(data.train), decode(data.val)
    args.folder.mkdir(parents=True, exist_ok=True)
    done = {(one.start, one.seed): one for one in _read(args)}
    for seed in args.seeds:
        for start in args.starts:
            if (start, seed) in done:
                continue
            outcome = Trial(start, seed, train_images, test_images, args).run()
            done[start, seed] = outcome
            with (args.folder / "outcomes.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(outcome)) + "\n")
            told = ", ".join(f"{name} {value:.1%}" for name, value in outcome.probes.items())
            sys.stderr.write(f"seed {seed}, {start}: {told}; {outcome.minutes:.1f} min\n")
    outcomes = [done[start, seed] for start in args.starts for seed in args.seeds]
    _show(outcomes)
    print(
        json.dumps(
            {
                "benchmark": "synthetic",
                "settings": _settings(args),
                "outcomes": [asdict(outcome) for outcome in outcomes],
                "provenance": record_provenance(seed=args.seeds[0]).to_json(),
            }
        )
    )


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--space", default=str(Path(__file__).parent / "encoder.toml"))
    parser.add_argument("--data", default="cifar10", help="real images, with labels for the judgement")
    parser.add_argument("--starts", nargs="+", default=list(STARTS), choices=STARTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=4000, help="of each kind (4000)")
    parser.add_argument("--size-px", type=int, default=64, help="of the synthetic ones (64)")
    parser.add_argument("--steps", type=int, default=250, help="of each pretraining (250)")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--crop-scale", type=float, default=0.2)
    parser.add_argument("--labels", type=float, nargs="*", default=[0.01, 0.1, 1.0], help="shares of them")
    parser.add_argument(
        "--label-steps", type=int, default=60, help="of the least share; doubled for each next"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("runs/bench_synthetic"))
    return parser.parse_args(argv)


def _settings(args: argparse.Namespace) -> str:
    ignored = ("seeds", "starts", "threads", "folder")
    return json.dumps({name: str(value) for name, value in vars(args).items() if name not in ignored})


def _read(args: argparse.Namespace) -> Iterator[Outcome]:
    path = args.folder / "outcomes.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        outcome = Outcome(**json.loads(line))
        if outcome.settings == _settings(args):
            yield outcome


@dataclass(frozen=True, slots=True)
class Trial:
    """One start from one seed.

    Attributes:
        start: One of `STARTS`.
        seed: Of everything random.
        real: Images to learn from.
        test: Images to judge on.
        args: Of the command line.
    """

    start: str
    seed: int
    real: PackedImages
    test: PackedImages
    args: argparse.Namespace

    def run(self) -> Outcome:
        """Pretrain, probe, and train by labels."""
        began = time.process_time()
        recipe = replace(Recipe.load("largest", purpose="pretrain"), seed=self.seed)
        if self.start == "random-closed":
            recipe = replace(recipe, branch_scale=0.0)
        first = first_encoder(self.args.space, start=None, recipe=recipe, device=torch.device("cpu"))
        terms = {} if self.start in UNTRAINED else self._pretrain(first)
        encoder = calibrated_subnet(
            first.supernet,
            first.supernet.space.largest,
            images=self.real.images[:_CALIBRATION],
            normalization=first.normalization,
        )
        train, test = (pooled_features(encoder, one, first.normalization) for one in (self.real, self.test))
        probes = {name: probe(train[name], test[name]) for name in train}
        largest, smallest = {}, {}
        for number, share in enumerate(self.args.labels):
            name = f"{share:g}"
            steps = self.args.label_steps << number
            largest[name], smallest[name] = self._learn(first, share, steps=steps)
        minutes = (time.process_time() - began) / 60.0
        return Outcome(_settings(self.args), self.start, self.seed, terms, probes, largest, smallest, minutes)

    def _pretrain(self, first: FirstSupernet) -> dict[str, float]:
        """Parts of the loss at the end."""
        args = self.args
        if self.start == "real":
            images = self.real.subset(np.arange(min(args.images, len(self.real))))
        else:
            images = _synthetic(self.start, args)
        epochs = args.steps / (len(images) // args.batch_size)
        settings = Settings(
            epochs=epochs, batch_size=args.batch_size, crop_scale=args.crop_scale, seed=self.seed
        )
        path = args.folder / f"{self.start}_{self.seed}.safetensors"
        reports = pretrain(
            first.supernet,
            images,
            Recipe.load("largest", purpose="pretrain").override(settings),
            loss="align-uniform",
            normalization=first.normalization,
            checkpointing=Checkpointing(path),
        )
        *_, last = (report for report in reports if isinstance(report, EpochEnd))
        path.unlink()
        return last.terms

    def _learn(self, first: FirstSupernet, share: float, *, steps: int) -> tuple[float, float]:
        """Train largest and smallest subnet by a share of the labels; their accuracies on the test images."""
        real = self.real
        per_class = max(1, round(share * len(real) / len(real.class_names)))
        rows = balanced_indices(real.labels, per_class, np.random.default_rng([self.seed, 9]))
        few = real.subset(np.sort(rows)) if share < 1.0 else real
        batch_size = min(_FEW_BATCH, len(few))
        phase = replace(_FEW, epochs=steps / (len(few) // batch_size))
        recipe = Recipe("few labels", (phase,), batch_size=batch_size, seed=self.seed)
        supernet = with_classifier(first.supernet, len(real.class_names), seed=self.seed)
        a_few = few.subset(np.arange(10))  # reports of epochs are not looked at
        data = TrainingData(few, a_few, a_few.images, first.normalization)
        path = self.args.folder / f"{self.start}_{self.seed}_labels.safetensors"
        for _ in train(supernet, data, recipe, checkpointing=Checkpointing(path)):
            pass
        path.unlink()
        space, calibration = supernet.space, real.images[:_CALIBRATION]
        largest, smallest = (
            accuracy_of(
                supernet,
                arch,
                calibration=calibration,
                split=self.test,
                normalization=first.normalization,
            )
            for arch in (space.largest, space.smallest)
        )
        return largest, smallest


def _synthetic(generator: str, args: argparse.Namespace) -> PackedImages:
    plan = SyntheticImages.plan(generator, mode=None, count=args.images, size_px=args.size_px, seed=0)
    path = args.folder / f"{generator}_{plan.size_px}px_{plan.count}.npz"
    if not path.exists():
        for _ in write_synthetic(plan, path):
            pass
    return decode(open_unlabelled(str(path)).source)


def _show(outcomes: list[Outcome]) -> None:
    table = make_table("start", "align", "uniform", "probe: last", "over random", "probe: all", "over random")
    baseline = [one for one in outcomes if one.start == "random"]
    for start in dict.fromkeys(one.start for one in outcomes):
        ours = [one for one in outcomes if one.start == start]
        cells = [
            _mean([one.terms[name] for one in ours]) if ours[0].terms else "" for name in ("align", "uniform")
        ]
        for seen in ("last", "all"):
            gains = [a.probes[seen] - b.probes[seen] for a, b in zip(ours, baseline, strict=False)]
            cells += [_percent([one.probes[seen] for one in ours]), _percent(gains)]
        table.add_row(start, *cells)
    wide.print(table)
    table = make_table("labels", "start", "largest", "over random", "smallest", "over random")
    for share in outcomes[0].largest:
        for start in dict.fromkeys(one.start for one in outcomes):
            ours = [one for one in outcomes if one.start == start]
            cells = []
            for size in ("largest", "smallest"):
                found = [getattr(one, size)[share] for one in ours]
                before = [getattr(one, size)[share] for one in baseline]
                cells += [_percent(found), _percent([a - b for a, b in zip(found, before, strict=False)])]
            table.add_row(f"{float(share):.0%}", start, *cells)
    wide.print(table)


def _mean(values: list[float]) -> str:
    return f"{np.mean(values):.2f}"


def _percent(values: list[float]) -> str:
    """Mean and standard deviation over the seeds, in points; empty without any."""
    if not values:
        return ""
    spread = f" ± {100 * np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{100 * np.mean(values):.1f}{spread}"


if __name__ == "__main__":
    main()
