"""Do latency budgets hold on this machine, and is searching worth it?

For each of five budgets a subnet is searched and exported. All five files are then timed in turns with the
reference networks, and each classifies held-out images. Beside each stand the mean and the best of random
subnets whose predicted latency is within 5 % of the chosen one's, on the same images. Prints a table and one
JSON line.

    python benchmarks/bench_budgets.py --random 20 --images 1000
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import onnx

from ofa_nas.data.packed import PackedImages
from ofa_nas.data.sample import load_images
from ofa_nas.devices import HOST, MeasuringProtocol, Model, open_device
from ofa_nas.export.card import ModelCard
from ofa_nas.export.export import export_subnet, model_card
from ofa_nas.export.ort_model import OrtModel
from ofa_nas.latency.references import Timed, time_among_references
from ofa_nas.latency.table import LatencyTable
from ofa_nas.pipeline.searching.estimators import Candidate, Estimators
from ofa_nas.pipeline.searching.search import SearchResult, search_supernet
from ofa_nas.pipeline.tables.device_table import device_table
from ofa_nas.precisions import FP32
from ofa_nas.provenance import record_provenance
from ofa_nas.search.budgets import Budget, Cost
from ofa_nas.space.encoding import Genes
from ofa_nas.supernet.checkpoint import load_supernet
from ofa_nas.supernet.supernet import Supernet
from ofa_nas.supernet_card import SupernetCard, SupernetFiles

WINDOW = 0.05  # random subnets count when their predicted latency is so near the chosen one's
QUANTILES = (0.05, 0.2, 0.4, 0.6, 0.85)  # of random subnets' latencies: the budgets


@dataclass(frozen=True, slots=True)
class Row:
    """One budget; `measured_ms` is at the speed of the table's day, `raw_ms` at the present one."""

    budget_ms: float
    architecture: str
    predicted_ms: float
    measured_ms: float
    raw_ms: float
    predicted_top1: float
    measured_top1: float
    random_top1: float
    random_best: float
    random_count: int


def main() -> None:
    """Search, export, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--supernet", default="efficientnet_lite")
    parser.add_argument("--random", type=int, default=20, help="random subnets for each budget")
    parser.add_argument("--images", type=int, default=1000, help="held-out images for the accuracies")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    files = SupernetFiles.find(args.supernet)
    space = SupernetCard.load(files.card).space
    table = next(record for record in device_table(HOST, space) if isinstance(record, LatencyTable))
    estimators = Estimators.load(args.supernet, table)
    rng = np.random.default_rng(args.seed)
    drawn = estimators.encoding.sample(100_000, rng)
    latencies = estimators.costs[Cost("latency", HOST)].values(drawn)
    budgets = [float(np.quantile(latencies, quantile)) for quantile in QUANTILES]
    chosen = [_search(estimators, budget, args.seed) for budget in budgets]
    near = [_near(drawn, latencies, candidate, args.random) for candidate in chosen]
    rows = _measure(files, estimators, budgets, chosen, near, images=args.images)
    _print(rows, table)
    made_by = record_provenance(seed=args.seed).to_json()
    print(json.dumps({"images": args.images, "rows": [asdict(row) for row in rows], "made_by": made_by}))


def _search(estimators: Estimators, budget_ms: float, seed: int) -> Candidate:
    budget = Budget("latency", budget_ms, "ms", HOST)
    return next(
        record.chosen
        for record in search_supernet(estimators, [budget], seed=seed)
        if isinstance(record, SearchResult)
    )


def _near(drawn: Genes, latencies: np.ndarray, candidate: Candidate, count: int) -> Genes:
    inside = np.abs(latencies / candidate.latencies_ms[HOST] - 1.0) < WINDOW
    return np.unique(drawn[inside], axis=0)[:: max(1, int(inside.sum()) // max(1, count))][:count]


def _measure(
    files: SupernetFiles,
    estimators: Estimators,
    budgets: Sequence[float],
    chosen: Sequence[Candidate],
    near: Sequence[Genes],
    *,
    images: int,
) -> list[Row]:
    supernet, card = load_supernet(files)
    calibration = load_images(files.calibration)
    held_out = load_images(files.held_out)
    few = held_out.subset(np.arange(min(images, len(held_out))))
    cards = [model_card(files.name, card, one.architecture, one.figures()) for one in chosen]
    exported = [export_subnet(supernet, one, calibration=calibration.images)[1] for one in cards]
    models = [Model(str(number), model.SerializeToString()) for number, model in enumerate(exported)]
    table = estimators.tables[HOST]
    assert table.measured is not None
    *_, timed = time_among_references(
        models,
        open_device(HOST),
        space=card.space,
        then_ms=table.measured.references,
        precision=FP32,
        protocol=MeasuringProtocol(rounds=20, max_rounds=20),
    )
    assert isinstance(timed, Timed)
    times = [timed.at_table_speed[model.name].latency_ms for model in models]
    rows = []
    for number, one in enumerate(chosen):
        top1 = _top1(exported[number], cards[number], few)
        random = _accuracies(supernet, cards[number], estimators, near[number], few, calibration)
        rows.append(
            Row(
                budget_ms=budgets[number],
                architecture=str(one.architecture),
                predicted_ms=one.latencies_ms[HOST],
                measured_ms=times[number],
                raw_ms=times[number] * timed.slowdown,
                predicted_top1=one.accuracy,
                measured_top1=top1,
                random_top1=float(np.mean(random)),
                random_best=float(np.max(random)),
                random_count=len(random),
            )
        )
        print(rows[-1], flush=True)
    return rows


def _accuracies(
    supernet: Supernet,
    card: ModelCard,
    estimators: Estimators,
    genes: Genes,
    split: PackedImages,
    calibration: PackedImages,
) -> list[float]:
    found = []
    for arch in estimators.encoding.decode(genes):
        own = replace(card, arch=arch)
        _, model = export_subnet(supernet, own, calibration=calibration.images)
        found.append(_top1(model, own, split))
    return found


def _top1(model: onnx.ModelProto, card: ModelCard, split: PackedImages) -> float:
    logits = OrtModel(model, card.normalization).logits(split.images)
    return float((logits.argmax(axis=1) == split.labels).mean())


def _print(rows: Sequence[Row], table: LatencyTable) -> None:
    assert table.measured
    by_macs = table.measured.errors(by_macs=True)
    mape = table.measured.errors().mape
    print(f"host table, hold-outs: MAPE {mape:.2%}, MACs linear {by_macs.mape:.2%}\n")
    print(
        "| budget | predicted | measured | off by | raw | top-1 predicted | measured | random: mean, best |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row.budget_ms:.2f} ms | {row.predicted_ms:.2f} ms | {row.measured_ms:.2f} ms "
            f"| {row.measured_ms / row.predicted_ms - 1:+.1%} | {row.raw_ms:.2f} ms "
            f"| {row.predicted_top1:.1%} | {row.measured_top1:.1%} "
            f"| {row.random_top1:.1%}, {row.random_best:.1%} |"
        )


if __name__ == "__main__":
    main()
