"""How well does each kind of accuracy predictor predict measured subnets that were held out?

A quarter of a supernet's samples, 150 at most, is held out, `--splits` times. Every kind is fitted to the
first n of the others, for every n that they allow. Beside our kinds and MACs alone stand once-for-all's
perceptron and boosting. `--repeat N` evaluates N subnets anew on the two halves of as many images; what the
halves differ by gives the noise. `--both-halves FILE` evaluates the first `--subnets` samples also on the
half of the validation images that is kept for verification, and judges by both, which is less noisy. FILE
keeps what was found: it may be stopped and gone on with, and several processes may share it.

    python -m benchmarks.bench_prediction
    python -m benchmarks.bench_prediction --repeat 32 --data tiny_imagenet
    python -m benchmarks.bench_prediction --both-halves held_out.jsonl --subnets 350 --data tiny_imagenet
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from ofa_nas.accuracy import AccuracySample, Halves, own_noise
from ofa_nas.arrays import Floats, Index
from ofa_nas.data.sample import decode
from ofa_nas.pipeline.evaluating.evaluation import Bench, DrawnImages
from ofa_nas.pipeline.predicting.left_out import leave_out, root
from ofa_nas.pipeline.predicting.sample_set import SampleSet
from ofa_nas.predictors import Observations, load_module
from ofa_nas.predictors.mlp import block_inputs, one_hot
from ofa_nas.provenance import record_provenance
from ofa_nas.sample_store import SampleStore
from ofa_nas.scores import kendall_tau, rmse, tau_ceiling
from ofa_nas.space.costs import layer_macs, tabulate
from ofa_nas.space.encoding import Encoding, Genes
from ofa_nas.training.allocator import keep_freed_memory
from ofa_nas.training.collect import collect
from ofa_nas.training.splits import held_out_half

KINDS = ("additive", "additive_gp", "mlp", "macs")
INTERVALS = ("additive", "additive_gp")
SIZES = (50, 100, 200, 300, 500, 1000)
MOST_HELD_OUT = 150
NEAR = 0.005  # below the best predicted of no more MACs, a fraction
# Once-for-all's perceptron (`ofa.nas.AccuracyPredictor`, mit-han-lab/once-for-all f03b267): three hidden
# layers, Adam, the mean accuracy as first bias. Epochs and batch are not published; 400 did better than 200.
OFA_WIDTH, OFA_EPOCHS, OFA_BATCH, OFA_RATE, OFA_DECAY = 400, 400, 32, 1e-3, 1e-4
ROUNDS = 400
TREES = {
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 5,
    "verbose": -1,
    "num_threads": 1,
}
Fit = Callable[[Encoding, Observations, int], Callable[[Genes], Floats]]


@dataclass(frozen=True, slots=True)
class Row:
    """One contender at one size.

    Attributes:
        tau: Kendall's, mean over the splits.
        tau_spread: Its standard deviation over them.
        rmse: A fraction, mean over the splits.
        true_rmse: Against what infinitely many images would show (`Halves`); None where halves are not known.
        fit_seconds: Median [s].
    """

    contender: str
    samples: int
    tau: float
    tau_spread: float
    rmse: float
    true_rmse: float | None
    fit_seconds: float


def ours(kind: str) -> Fit:
    """A plug-in of `ofa_nas.predictors`."""

    def fit(encoding: Encoding, observations: Observations, seed: int) -> Callable[[Genes], Floats]:
        return load_module(kind).fit(encoding, observations, rng=np.random.default_rng(seed)).predict

    return fit


def ofa_mlp(encoding: Encoding, observations: Observations, seed: int) -> Callable[[Genes], Floats]:
    """Once-for-all's recipe: one perceptron of 3 x 400 ReLU on one-hot blocks, mean squared error."""
    inputs, count = block_inputs(encoding)
    torch.manual_seed(seed)
    sizes = [count, *(OFA_WIDTH,) * 3]
    layers: list[torch.nn.Module] = []
    for into, out in pairwise(sizes):
        layers += [torch.nn.Linear(into, out), torch.nn.ReLU()]
    last = torch.nn.Linear(OFA_WIDTH, 1)
    torch.nn.init.constant_(last.bias, float(observations.accuracies.mean()))
    network = torch.nn.Sequential(*layers, last)
    rows = torch.from_numpy(one_hot(inputs, count, observations.genes))
    targets = torch.from_numpy(observations.accuracies.astype(np.float32))
    optimizer = torch.optim.Adam(network.parameters(), lr=OFA_RATE, weight_decay=OFA_DECAY)
    for _ in range(OFA_EPOCHS):
        order = torch.randperm(len(rows))
        for start in range(0, len(rows), OFA_BATCH):
            batch = order[start : start + OFA_BATCH]
            optimizer.zero_grad()
            loss: torch.Tensor = torch.nn.functional.mse_loss(network(rows[batch])[:, 0], targets[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    def predict(genes: Genes) -> Floats:
        with torch.no_grad():
            found = network(torch.from_numpy(one_hot(inputs, count, genes)))[:, 0]
        return np.asarray(found.numpy(), dtype=np.float64)

    return predict


def boosting(
    library: ModuleType, encoding: Encoding, observations: Observations, seed: int
) -> Callable[[Genes], Floats]:
    """Boosted trees on one-hot blocks and the logarithm of the MACs."""
    inputs, count = block_inputs(encoding)
    macs = tabulate(encoding, layer_macs)

    def features(genes: Genes) -> Floats:
        return np.column_stack([one_hot(inputs, count, genes), np.log(macs.total(genes))]).astype(np.float64)

    data = library.Dataset(features(observations.genes), observations.accuracies)
    trees = library.train({**TREES, "seed": seed}, data, num_boost_round=ROUNDS)
    return lambda genes: np.asarray(trees.predict(features(genes)))


def contenders() -> dict[str, Fit]:
    """By name; boosting only where LightGBM is installed."""
    found: dict[str, Fit] = {kind: ours(kind) for kind in KINDS} | {"OFA's MLP (3 x 400)": ofa_mlp}
    try:
        lightgbm = import_module("lightgbm")
    except ModuleNotFoundError:
        print("left out: LightGBM is not installed; pip install 'ofa-nas[bench]'", file=sys.stderr)
        return found
    return found | {"boosting (LightGBM)": partial(boosting, lightgbm)}


def compare(measured: SampleSet, *, splits: int) -> list[Row]:
    """Every contender on every size, on the same splits."""
    halves = Halves.of(measured.samples)
    observations, count = measured.observations, len(measured.samples)
    most = count - min(round(count / 4), MOST_HELD_OUT)
    rows = []
    for name, fit in contenders().items():
        for size in [size for size in SIZES if size <= most]:
            taus, squares, own, seconds = [], [], [], []
            for split in range(splits):
                order = np.random.default_rng([split, 5]).permutation(count)
                held_out = observations.take(order[most:])
                start = time.perf_counter()
                predict = fit(measured.encoding, observations.take(order[:size]), split)
                seconds.append(time.perf_counter() - start)
                predicted = predict(held_out.genes)
                taus.append(kendall_tau(predicted, held_out.accuracies))
                squares.append(rmse(predicted, held_out.accuracies) ** 2)
                if halves:
                    own.append(own_square(measured, halves, fit, order[:size], order[most:], split))
            error = float(np.sqrt(np.mean(squares)))
            clean = None if halves is None else root(float(np.mean(own)))
            spread = float(np.std(taus, ddof=1))
            rows.append(
                Row(name, size, float(np.mean(taus)), spread, error, clean, float(np.median(seconds)))
            )
            print(f"{name}, {size} subnets", file=sys.stderr)
    return rows


def own_square(
    measured: SampleSet, halves: Halves, fit: Fit, fitted: Index, held_out: Index, seed: int
) -> float:
    """Mean squared error without noise, by fits to one half of the images that are judged on the other."""
    seen = measured.observations.take(fitted)
    predicted = [
        fit(measured.encoding, replace(seen, accuracies=half[fitted], variances=2.0 * seen.variances), seed)(
            measured.observations.genes[held_out]
        )
        for half in (halves.even, halves.odd)
    ]
    return float(halves.take(held_out).own_squares(*predicted).mean())


def coverages(measured: SampleSet, kind: str, *, splits: int) -> tuple[float, float, int]:
    """Share of left-out fifths inside their 90 % intervals: of all, and of those near the predicted front.

    Near the front is what a search would choose: hardly any subnet of no more MACs is predicted to be better.
    """
    left_out = leave_out(kind, measured.encoding, measured.observations, seed=0, repeats=splits)
    macs = tabulate(measured.encoding, layer_macs).total(measured.observations.genes)
    inside = np.abs(left_out.predicted - left_out.measured) <= left_out.half_widths
    within = macs <= macs[:, None]
    best = np.where(within, left_out.predicted[:, None, :], -np.inf).max(axis=2)
    near = left_out.predicted >= best - NEAR
    return float(inside.mean()), float(inside[near].mean()), int(near.sum() / splits)


def repeated_noise(supernet: str, measured: SampleSet, *, count: int, data: str) -> float:
    """Noise of measuring, from evaluating some of the samples on the two halves of as many images."""
    bench = Bench.open(supernet)
    split = bench.predictor_images(data, images=measured.samples[0].images, seed=0)
    found = []
    for place in np.linspace(0, len(measured.samples) - 1, count).round().astype(int):
        sample = measured.samples[place]
        even, odd = bench.count_halves(bench.card.space.parse(sample.arch), split)
        found.append(replace(sample, correct=even + odd, images=len(split), correct_even=even))
        print(f"{sample.arch}: {found[-1].accuracy:.4f}, stored {sample.accuracy:.4f}", file=sys.stderr)
    noise = own_noise(found)
    assert noise is not None
    return noise


def on_both_halves(measured: SampleSet, store: Path, *, count: int, data: str) -> SampleSet:
    """The first samples on the half of the images that verification keeps as well; only for judging."""
    bench = Bench.open(measured.files.weights, threads=1)
    val = bench.open_data(data).val
    kept = decode(val.subset(held_out_half(val)))
    split = DrawnImages(kept.images, kept.labels, kept.class_names, data)
    blank = replace(bench.blank_sample(split, seed=0), split=f"{data}/verification")
    archs = [bench.card.space.parse(sample.arch) for sample in measured.samples[:count]]
    evaluate = partial(bench.count_halves, split=split)
    for sample in collect(archs, SampleStore(store), evaluate=evaluate, blank=blank):
        print(f"{sample.arch}: {sample.accuracy:.4f}", file=sys.stderr)
    others = {one.arch: one for one in SampleStore(store).read() if one.is_alike(blank)}
    both = tuple(_joined(one, others[one.arch]) for one in measured.samples if one.arch in others)
    return replace(measured, samples=both, observations=Observations.of(measured.encoding, both))


def _joined(one: AccuracySample, other: AccuracySample) -> AccuracySample:
    """A subnet on the images of two samples."""
    return replace(
        one,
        correct=one.correct + other.correct,
        images=one.images + other.images,
        correct_even=one.correct_even + other.correct_even,
        split=f"{one.split} and {other.split}",
        digest=f"{one.digest} {other.digest}",
    )


def print_rows(rows: list[Row]) -> None:
    """The table."""
    print("| predictor | subnets | Kendall tau | RMSE [points] | to the truth | fit [s] |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        clean = "?" if row.true_rmse is None else f"{100 * row.true_rmse:.2f}"
        figures = f"{row.tau:.3f} ± {row.tau_spread:.3f} | {100 * row.rmse:.2f} | {clean}"
        print(f"| {row.contender} | {row.samples} | {figures} | {row.fit_seconds:.3f} |")


def main() -> None:
    """Print the table, the intervals, and one JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--supernet", default="efficientnet_lite")
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--repeat", type=int, metavar="N", help="subnets evaluated anew for the noise")
    parser.add_argument("--both-halves", type=Path, metavar="FILE", help="judge by the other half as well")
    parser.add_argument("--subnets", type=int, default=350, help="of --both-halves (350)")
    parser.add_argument("--data", help="data set of --repeat and --both-halves")
    args = parser.parse_args()
    if (args.repeat is None and args.both_halves is None) != (args.data is None):
        parser.error("--repeat and --both-halves go with --data")
    torch.set_num_threads(1)
    keep_freed_memory()
    measured = SampleSet.load(args.supernet)
    if args.both_halves:
        measured = on_both_halves(measured, args.both_halves, count=args.subnets, data=args.data)
    noise = own_noise(measured.samples)
    if args.repeat:
        noise = repeated_noise(args.supernet, measured, count=args.repeat, data=args.data)
    rows = compare(measured, splits=args.splits)
    print_rows(rows)
    binomial = float(np.sqrt(measured.observations.variances.mean()))
    ceiling = None if noise is None else tau_ceiling(measured.observations.accuracies, noise)
    told = f"binomial noise {100 * binomial:.2f} points"
    if noise is not None and ceiling is not None:
        told += f"; own of each subnet {100 * noise:.2f}; true accuracies: tau {ceiling:.3f}"
    print(f"\n{told}\n\n| intervals at 90 % | cover | near the front | subnets near it |\n|---|---|---|---|")
    covered = {kind: coverages(measured, kind, splits=args.splits) for kind in INTERVALS}
    for kind, (everywhere, near, count) in covered.items():
        print(f"| {kind} | {everywhere:.1%} | {near:.1%} | {count} |")
    document = {
        "benchmark": "prediction",
        "supernet": args.supernet,
        "samples": len(measured.samples),
        "splits": args.splits,
        "noise": noise,
        "binomial_noise": binomial,
        "tau_ceiling": ceiling,
        "rows": [asdict(row) for row in rows],
        "coverage": covered,
        "made_by": record_provenance(seed=0).to_json(),
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main()
