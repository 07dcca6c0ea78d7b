"""How many times faster are searched subnets than networks as accurate that nobody searched?

Searched subnets of the shipped supernet, spread over its front, beside (a) its largest subnet, (b)
hand-designed points and uniform designs of its space, with weights of the same supernet, (c) files of other
supernets (`--file`), such as a plain ResNet trained by the same command. All classify the same held-out
images, and all are timed in one interleaved session. Beside each of the others stands the fastest searched
subnet that is as accurate on images 0, 2, 4, …; the difference told is that on the images between, which had
no say in it.

    python benchmarks/bench_comparison.py --file runs/resnet/resnet.onnx
"""

import argparse
import json
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from ofa_nas.devices import HOST, MeasuringProtocol, Visit, open_device
from ofa_nas.export.export import ModelCard, model_card, read_model
from ofa_nas.latency.table import LatencyTable
from ofa_nas.pipeline.contenders import (
    Contender,
    Difference,
    Hits,
    Ratio,
    accuracy_difference,
    classify,
    contender_of_architecture,
    contender_of_file,
    latency_ratio,
    time_contenders,
)
from ofa_nas.pipeline.deliver import Stage
from ofa_nas.pipeline.device_table import device_table
from ofa_nas.pipeline.estimators import Estimators
from ofa_nas.pipeline.evaluation import Bench
from ofa_nas.pipeline.search import SearchResult, search
from ofa_nas.provenance import record_provenance
from ofa_nas.space.architecture import Architecture, Block
from ofa_nas.space.search_space import SearchSpace

# Uniform designs: resolution, kernel size, expand ratio, and whether stages are as deep as may be.
UNIFORM = ((112, 3, 4, True), (128, 3, 4, True), (128, 5, 3, True), (128, 3, 6, False), (144, 3, 4, True))
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
    parser.add_argument("--searched", type=int, default=12, help="searched subnets")
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    began = time.monotonic()
    bench = Bench.open(args.supernet)
    split = bench.held_out_images(images=None, seed=0)
    groups = [("searched", contender_of_architecture(str(arch), bench)) for arch in _front(bench, args)]
    groups += _others(bench, args.file)
    hits = []
    for _, one in groups:
        found = _last(classify(one, split))
        assert found is not None, f"{one.name}: {one.unknown}"
        hits.append(found)
    protocol = MeasuringProtocol(rounds=args.rounds, max_rounds=args.rounds)
    visits, _ = _last(time_contenders([one for _, one in groups], open_device(HOST), protocol))
    results = [
        Result(group, one, right, times)
        for (group, one), right, times in zip(groups, hits, visits, strict=True)
    ]
    rows = compare_all(results)
    _print(rows, results, len(split))
    made_by = record_provenance(seed=0).to_json()
    seconds = time.monotonic() - began
    print(json.dumps({"seconds": seconds, "rows": [asdict(row) for row in rows], "made_by": made_by}))


def compare_all(results: Sequence[Result]) -> list[Row]:
    """Every network that nobody searched beside the fastest searched one that is as accurate."""
    searched = [one for one in results if one.group == "searched"]
    return [_row(one, searched) for one in results if one.group != "searched"]


def _row(one: Result, searched: Sequence[Result]) -> Row:
    row = Row(one.group, one.contender.name, one.contender.macs, float(one.hits.mean()), one.latency_ms)
    good = [other for other in searched if other.hits[::2].sum() >= one.hits[::2].sum()]
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


def _front(bench: Bench, args: argparse.Namespace) -> list[Architecture]:
    """Searched subnets, spread evenly over the predicted accuracies of the front."""
    tables = []
    if args.table:
        records = device_table(args.table, bench.card.space)
        tables = [record for record in records if isinstance(record, LatencyTable)]
    estimators = Estimators.load(args.supernet, *tables)
    *_, result = search(estimators, [])
    assert isinstance(result, SearchResult)
    accuracies = np.array([one.accuracy for one in result.front])
    wanted = np.linspace(accuracies.min(), accuracies.max(), args.searched)
    places = {int(np.abs(accuracies - one).argmin()) for one in wanted}
    return [result.front[place].architecture for place in sorted(places)]


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


def _last(stream: Generator[Stage, None, _T]) -> _T:
    while True:
        try:
            next(stream)
        except StopIteration as end:
            result: _T = end.value
            return result


def _print(rows: Sequence[Row], results: Sequence[Result], images: int) -> None:
    print(f"{images} held-out images\n\n| searched | M MACs | top-1 | latency |\n|---|---|---|---|")
    for one in results:
        if one.group == "searched":
            print(
                f"| `{one.contender.name}` | {(one.contender.macs or 0) / 1e6:.1f} | {one.hits.mean():.2%} "
                f"| {one.latency_ms:.3g} ms |"
            )
    print(
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
    print("\nlargest ratio at equal or better accuracy:")
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
