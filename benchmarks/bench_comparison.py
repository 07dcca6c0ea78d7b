"""How many times faster are searched subnets than networks as accurate that nobody searched?

The searched subnets are on the front of the shipped supernet. They are compared with (a) its largest subnet,
(b) hand-designed points and uniform designs of its space, with weights of the same supernet, (c) files of
other supernets (`--file`), such as a plain ResNet trained by the same command. All classify the same held-out
images, and all are timed in one interleaved session. Beside each of the others stands the fastest searched
subnet that is as accurate, or a point less, on images 0, 2, 4, …; the difference printed is that on the
images between, which had no part in the choice. Takes about five minutes on two quiet cores.

    python benchmarks/bench_comparison.py --file runs/resnet/resnet.onnx
"""

import argparse
import json
import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from ofa_nas.activity import Activity
from ofa_nas.devices import HOST, MeasuringProtocol, Visit, open_device
from ofa_nas.export.card import ModelCard, read_model
from ofa_nas.export.export import model_card
from ofa_nas.latency.table import LatencyTable
from ofa_nas.pipeline.delivery.contenders import (
    Contender,
    Difference,
    Hits,
    Ratio,
    accuracy_difference,
    contender_of_architecture,
    contender_of_file,
    find_hits,
    latency_ratio,
    time_contenders,
)
from ofa_nas.pipeline.evaluating.evaluation import Bench
from ofa_nas.pipeline.searching.estimators import Estimators
from ofa_nas.pipeline.searching.search import SearchResult, search_supernet
from ofa_nas.pipeline.tables.device_table import device_table
from ofa_nas.provenance import record_provenance
from ofa_nas.space.architecture import Architecture, Block
from ofa_nas.space.search_space import SearchSpace

# Uniform designs: resolution, kernel size, expand ratio, and whether stages are as deep as may be.
UNIFORM = ((112, 3, 4, True), (128, 5, 3, True), (128, 3, 6, False))
EXTRA = (
    0.0,
    0.01,
)  # predicted accuracy above that of the others, for the predictor flatters what is searched
TOLERANCES = (0.0, 0.01)  # accuracy that a searched subnet may be behind
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Result:
    """One network: what it classified right, and how long it took in each round."""

    group: str
    contender: Contender
    hits: Hits
    visits: Sequence[Visit]

    @property
    def latency_ms(self) -> float:
        """Median over the visits of their medians [ms]."""
        return float(np.median([np.median(visit.wall_ms) for visit in self.visits]))


@dataclass(frozen=True, slots=True)
class Row:
    """A network that nobody searched beside the fastest searched one as accurate; None without one."""

    group: str
    name: str
    macs: int | None
    accuracy: float
    latency_ms: float
    searched: str | None = None
    searched_accuracy: float | None = None
    searched_ms: float | None = None
    ratio: Ratio | None = None
    difference: Difference | None = None


def main() -> None:
    """Export, classify, time, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--supernet", default="efficientnet_lite")
    parser.add_argument(
        "--table",
        help="search by this latency table (host: this machine's, which is measured first if need be; "
        "without, by MACs)",
    )
    parser.add_argument(
        "--file", type=Path, action="append", default=[], help="ONNX file of another supernet"
    )
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    began = time.monotonic()
    bench = Bench.open(args.supernet)
    split = bench.held_out_images(images=None, seed=0)
    groups = _others(bench, args.file)
    archs = [one.architecture for _, one in groups if one.kind == "architecture" and one.architecture]
    searched = _search(args.supernet, bench, archs, table=args.table)
    groups += [("searched", contender_of_architecture(str(arch), bench)) for arch in searched]
    hits = []
    for _, one in groups:
        print(f"classifying with {one.name}", file=sys.stderr)
        found = _last(find_hits(one, split))
        assert found is not None, f"{one.name}: {one.unknown}"
        hits.append(found)
    protocol = MeasuringProtocol(rounds=args.rounds, max_rounds=args.rounds, held=len(groups))
    visits, _ = _last(time_contenders([one for _, one in groups], open_device(HOST), protocol))
    results = [
        Result(group, one, right, times)
        for (group, one), right, times in zip(groups, hits, visits, strict=True)
    ]
    rows = {tolerance: compare_all(results, tolerance=tolerance) for tolerance in TOLERANCES}
    _print_searched(results, len(split))
    for tolerance in TOLERANCES:
        _print(rows[tolerance], tolerance)
    document = {tolerance: [asdict(row) for row in rows[tolerance]] for tolerance in TOLERANCES}
    made_by, seconds = record_provenance(seed=0).to_json(), time.monotonic() - began
    print(json.dumps({"seconds": seconds, "rows": document, "made_by": made_by}))


def compare_all(results: Sequence[Result], *, tolerance: float) -> list[Row]:
    """Every network that nobody searched beside the fastest searched one not much less accurate."""
    searched = [one for one in results if one.group == "searched"]
    return [_row(one, searched, tolerance) for one in results if one.group != "searched"]


def _row(one: Result, searched: Sequence[Result], tolerance: float) -> Row:
    row = Row(one.group, one.contender.name, one.contender.macs, float(one.hits.mean()), one.latency_ms)
    least = one.hits[::2].mean() - tolerance
    good = [other for other in searched if other.hits[::2].mean() >= least]
    if not good:
        return row
    best = min(good, key=lambda other: other.latency_ms)
    return Row(
        *(row.group, row.name, row.macs, row.accuracy, row.latency_ms),
        searched=best.contender.name,
        searched_accuracy=float(best.hits.mean()),
        searched_ms=best.latency_ms,
        ratio=latency_ratio(best.visits, one.visits),
        difference=accuracy_difference(best.hits[1::2], one.hits[1::2]),
    )


def _search(
    supernet: str, bench: Bench, others: Sequence[Architecture], *, table: str | None
) -> list[Architecture]:
    """The cheapest on the front predicted to be as accurate as the others, and the cheapest of all."""
    records = device_table(table, bench.card.space) if table else iter(())
    tables = [record for record in records if isinstance(record, LatencyTable)]
    estimators = Estimators.load(supernet, *tables)
    *_, result = search_supernet(estimators, [])
    assert isinstance(result, SearchResult)
    accuracies = [one.accuracy for one in result.front]  # they rise with the cost
    predicted = [one.accuracy for one in estimators.candidates(estimators.encoding.encode(others))]
    wanted = [accuracy + extra for accuracy in predicted for extra in EXTRA]
    places = np.searchsorted(accuracies, wanted).clip(max=len(accuracies) - 1)
    return [result.front[place].architecture for place in sorted({0, *places.tolist()})]


def _others(bench: Bench, files: Sequence[Path]) -> list[tuple[str, Contender]]:
    space = bench.card.space
    names = ["middle", *space.points, *(str(_uniform(space, *design)) for design in UNIFORM)]
    own = model_card(bench.files.name, bench.card, space.largest, {})
    return [
        ("largest", contender_of_architecture("largest", bench)),
        *(("hand-designed", contender_of_architecture(name, bench)) for name in names),
        *(("file", _exported(path, own)) for path in files),
    ]


def _exported(path: Path, against: ModelCard) -> Contender:
    card = ModelCard.from_model(read_model(path), path)
    return contender_of_file(path.name, path, card, kind="exported", against=against)


def _uniform(space: SearchSpace, resolution: int, kernel: int, ratio: int, is_deep: bool) -> Architecture:
    stages = tuple(
        (Block(min(kernel, stage.kernel_sizes[-1]), min(ratio, stage.expand_ratios[-1])),)
        * stage.depths[-1 if is_deep else 0]
        for stage in space.stages
    )
    return Architecture(resolution, stages)


def _last(stream: Generator[Activity, None, _T]) -> _T:
    while True:
        try:
            next(stream)
        except StopIteration as end:
            result: _T = end.value
            return result


def _print_searched(results: Sequence[Result], images: int) -> None:
    print(f"{images} held-out images\n\n| searched | M MACs | top-1 | latency |\n|---|---|---|---|")
    for one in results:
        if one.group == "searched":
            print(
                f"| `{one.contender.name}` | {(one.contender.macs or 0) / 1e6:.1f} | {one.hits.mean():.2%} "
                f"| {one.latency_ms:.3g} ms |"
            )


def _print(rows: Sequence[Row], tolerance: float) -> None:
    print(
        f"\nAt most {100 * tolerance:g} points behind:\n"
        "\n| | M MACs | top-1 | latency | searched: top-1 | latency | times lower (95 %) | points (90 %) |"
        "\n|---|---|---|---|---|---|---|---|"
    )
    for row in rows:
        macs = f"{row.macs / 1e6:.1f}" if row.macs else ""
        own = f"| `{row.name}` | {macs} | {row.accuracy:.2%} | {row.latency_ms:.3g} ms "
        if row.ratio is None or row.difference is None:
            print(f"{own}| none is as accurate | | | |")
            continue
        ratio, difference = row.ratio, row.difference
        print(
            f"{own}| {row.searched_accuracy:.2%} | {row.searched_ms:.3g} ms "
            f"| {ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f}) "
            f"| {100 * difference.value:+.1f} ± {100 * difference.half_width:.1f} |"
        )
    print("\nlargest ratio:")
    for group in dict.fromkeys(row.group for row in rows):
        best = max(
            (row for row in rows if row.group == group and row.ratio),
            key=lambda row: row.ratio.value if row.ratio else 0.0,
            default=None,
        )
        told = f"{best.ratio.value:.2f} over {best.name}" if best and best.ratio else "none"
        print(f"- {group}: {told}")


if __name__ == "__main__":
    main()
