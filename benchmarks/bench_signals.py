"""Is searching a 1-D space for sensor signals worth it?

Trains a supernet of `conv1d` on HAPT, fits a predictor on one half of the test people, measures the table of
this machine, and searches within latency budgets. Each searched subnet is compared with random ones whose
predicted latency is within 5 % of its own. All are timed in one session, and classify the windows of the
other half of the test people, whom neither training nor search saw. Prints a table and one JSON line; a run
that was stopped goes on.

    python benchmarks/bench_signals.py --random 8
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from ofa_nas.data.packed import PackedImages
from ofa_nas.data.sample import decode
from ofa_nas.devices import HOST, MeasuringProtocol, Model, open_device
from ofa_nas.export.export import export_subnet, model_card
from ofa_nas.latency.measure import Measurement, measure
from ofa_nas.latency.table import LatencyTable
from ofa_nas.pipeline.evaluating.evaluation import Bench
from ofa_nas.pipeline.predicting.collecting import Collection
from ofa_nas.pipeline.predicting.predictor_fit import fit_predictor
from ofa_nas.pipeline.searching.estimators import Estimators, default_margin
from ofa_nas.pipeline.searching.search import SearchResult, search_supernet
from ofa_nas.pipeline.tables.device_table import device_table
from ofa_nas.pipeline.training.learning import TrainingPlan, train_supernet
from ofa_nas.provenance import record_provenance
from ofa_nas.search.budgets import Budget, Cost
from ofa_nas.space.architecture import Architecture
from ofa_nas.supernet_card import SupernetCard, SupernetFiles
from ofa_nas.training.recipe import Recipe, Settings
from ofa_nas.training.splits import SplitSizes, held_out_half
from ofa_nas.training.train import EpochReport

WINDOW = 0.05  # random subnets count when their predicted latency is so near the searched one's
QUANTILES = (0.05, 0.25, 0.5, 0.8)  # of random subnets' latencies: the budgets
DRAWN = 100_000


@dataclass(frozen=True, slots=True)
class Subnet:
    """One subnet: predicted and measured."""

    architecture: str
    predicted_ms: float
    measured_ms: float
    top1: float


@dataclass(frozen=True, slots=True)
class Row:
    """One budget: the searched subnet, and random ones that are predicted to be as fast."""

    budget_ms: float
    searched: Subnet
    random: tuple[Subnet, ...]


def main() -> None:
    """Train, collect, fit, measure, search, compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="hapt")
    parser.add_argument("--space", default="conv1d")
    parser.add_argument("--epochs", type=float, help="those of the recipe signals, unless given")
    parser.add_argument("--subnets", type=int, default=60, help="samples of the predictor")
    parser.add_argument("--random", type=int, default=8, help="random subnets for each budget")
    parser.add_argument("--windows", type=int, default=1500, help="windows of each accuracy at most")
    parser.add_argument("--rounds", type=int, default=20, help="visits of each network when it is timed")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench_signals"))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    files = prepare(args)
    rows = compare(args, files)
    print_ends(files, args)
    print_rows(rows)
    made_by = record_provenance(seed=args.seed).to_json()
    print(json.dumps({"data": args.data, "rows": [asdict(row) for row in rows], "made_by": made_by}))


def prepare(args: argparse.Namespace) -> SupernetFiles:
    """The supernet and its predictor, made where they are not there yet."""
    files = SupernetFiles(args.folder / "supernet.safetensors")
    if not files.card.is_file():
        recipe = Recipe.load("signals").override(Settings(epochs=args.epochs, seed=args.seed))
        plan = TrainingPlan(
            space=args.space,
            data=args.data,
            start=None,
            recipe=recipe,
            sizes=SplitSizes(seed=args.seed),
            folder=args.folder,
            resume=(args.folder / "checkpoint.safetensors").exists(),
        )
        for report in train_supernet(plan, device=torch.device("cpu")):
            if isinstance(report, EpochReport):
                print(report, flush=True)
    if not files.predictor.is_file():
        name = str(files.weights)
        plan_of_samples = Collection.plan(
            Bench.open(name), count=args.subnets, data=args.data, images=args.windows, seed=args.seed
        )
        for _ in plan_of_samples.samples():
            pass
        fit_predictor(name, kind="additive", seed=args.seed)
    return files


def compare(args: argparse.Namespace, files: SupernetFiles) -> list[Row]:
    """Search within the budgets, and measure what was found beside what was drawn."""
    space = SupernetCard.load(files.card).space
    table = next(record for record in device_table(HOST, space) if isinstance(record, LatencyTable))
    estimators = Estimators.load(str(files.weights), table)
    drawn = estimators.encoding.sample(DRAWN, np.random.default_rng(args.seed))
    latencies = estimators.costs[Cost("latency", HOST)].values(drawn)
    reachable_ms = 1.001 * float(latencies.min()) / (1.0 - default_margin(estimators.tables[HOST]))
    groups = []
    for quantile in QUANTILES:
        budget_ms = max(float(np.quantile(latencies, quantile)), reachable_ms)
        stream = search_supernet(estimators, [Budget("latency", budget_ms, "ms", HOST)], seed=args.seed)
        chosen = next(record.chosen for record in stream if isinstance(record, SearchResult))
        near = drawn[np.abs(latencies / chosen.latencies_ms[HOST] - 1.0) < WINDOW]
        random = estimators.encoding.decode(np.unique(near, axis=0)[:: max(1, len(near) // args.random)])
        groups.append((budget_ms, [chosen.architecture, *random[: args.random]]))
    bench = Bench.open(str(files.weights))
    archs = list(dict.fromkeys(arch for _, group in groups for arch in group))
    ms = dict(zip(archs, _time(bench, archs, rounds=args.rounds), strict=True))
    windows = _unseen(bench, args)
    found = {
        arch: Subnet(
            str(arch),
            table.latency_ms(space, arch),
            ms[arch],
            bench.count_correct(arch, windows) / len(windows),
        )
        for arch in archs
    }
    return [
        Row(budget_ms, found[group[0]], tuple(found[arch] for arch in group[1:]))
        for budget_ms, group in groups
    ]


def _time(bench: Bench, archs: Sequence[Architecture], *, rounds: int) -> Iterator[float]:
    """Latencies of the files of subnets, in turns in one session [ms]."""
    models = []
    for arch in archs:
        card = model_card(bench.files.name, bench.card, arch, {})
        _, model = export_subnet(bench.supernet, card, calibration=bench.calibration)
        models.append(Model(str(arch), model.SerializeToString()))
    protocol = MeasuringProtocol(rounds=rounds, max_rounds=rounds)
    records = measure(open_device(HOST), models, protocol=protocol)
    found = {record.model: record.latency_ms for record in records if isinstance(record, Measurement)}
    return (found[model.name] for model in models)


def _unseen(bench: Bench, args: argparse.Namespace) -> PackedImages:
    """Windows of the half of the test people that no search saw, at most so many."""
    val = bench.open_data(args.data).val
    rows = held_out_half(val)
    few = np.random.default_rng(args.seed).permutation(rows)[: args.windows]
    return decode(val.subset(np.sort(few)))


def print_ends(files: SupernetFiles, args: argparse.Namespace) -> None:
    """Smallest and largest subnet on every window of all test people."""
    bench = Bench.open(str(files.weights))
    whole = decode(bench.open_data(args.data).val)
    for name, arch in (("smallest", bench.card.space.smallest), ("largest", bench.card.space.largest)):
        right = bench.count_correct(arch, whole) / len(whole)
        print(f"{name} subnet, all {len(whole)} windows of the test people: {right:.2%}")


def print_rows(rows: Sequence[Row]) -> None:
    """The table."""
    print("\n| budget | searched: predicted | measured | top-1 | random: measured | mean top-1 | best |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        ms, top1 = (np.array([getattr(one, name) for one in row.random]) for name in ("measured_ms", "top1"))
        one = row.searched
        print(
            f"| {row.budget_ms:.4f} ms | {one.predicted_ms:.4f} ms | {one.measured_ms:.4f} ms "
            f"| {one.top1:.1%} | {ms.mean():.4f} ms | {top1.mean():.1%} | {top1.max():.1%} |"
        )


if __name__ == "__main__":
    main()
