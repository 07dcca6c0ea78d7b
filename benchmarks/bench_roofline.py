"""How well do rooflines predict published timings of three boards, from data sheets and calibrated?

Reads `mlperf_v2.0_rpi4_ms.csv` (whole networks, Apache-2.0) and `hwnasbench_fbnet_blocks.csv` (blocks alone,
MIT) in `$OFA_NAS_DATA/rpi4`. Nothing is timed here. What a calibration saw is not judged, except as a part of
the sums of 22 blocks.
"""

import csv
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.fit_rpi4 import read_networks
from benchmarks.rpi4_networks import measured_networks
from ofa_nas.arrays import Floats
from ofa_nas.latency.calibration import fit_roofline, predict, predict_left_out
from ofa_nas.latency.measured import ErrorFigures, judge
from ofa_nas.latency.roofline import Roofline, RooflineModel, Work
from ofa_nas.provenance import record_provenance
from ofa_nas.space.operators import INPUT, Convolution, Elementwise, Operator

SYSTEMS = {"TFLite-ruy": "rpi4-tflite-v2.7.1-ruy", "ArmNN": "rpi4-armnn-v21.11-neon"}
LINPACK = RooflineModel(11.9, 5.0)  # half of 2 x HPL's 11.9 fp64 Gflop/s; STREAM copy, both ways
DEVICES = {"Pi 4, one core": "raspi4", "Pixel 3": "pixel3", "edge GPU": "edgegpu"}
POSITIONS = (  # of an FBNet on ImageNet: (input size, input channels, output channels, stride), times
    *(((112, 16, 16, 1), 1), ((112, 16, 24, 2), 1), ((56, 24, 24, 1), 3), ((56, 24, 32, 2), 1)),
    *(((28, 32, 32, 1), 3), ((28, 32, 64, 2), 1), ((14, 64, 64, 1), 3), ((14, 64, 112, 1), 1)),
    *(((14, 112, 112, 1), 3), ((14, 112, 184, 2), 1), ((7, 184, 184, 1), 3), ((7, 184, 352, 1), 1)),
)
DRAWS, SUMS = 20, 500
Position = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Row:
    """One way to predict.

    Attributes:
        measured: Board and runtime.
        model: How.
        unit: What is predicted: networks, blocks, or sums of 22 blocks.
        figures: Their errors, the mean over draws where there are several.
        worst_draw: Mean absolute error of the worst draw.
    """

    measured: str
    model: str
    unit: str
    figures: ErrorFigures
    worst_draw: float | None = None


def main() -> None:
    """Judge, print, one JSON line."""
    folder = Path(os.environ["OFA_NAS_DATA"]) / "rpi4"
    rows = [*judge_networks(folder), *judge_blocks(folder)]
    print("| measured | predicted by | judged on | MAPE | worst | bias | rank | worst draw |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        one, rank = row.figures, row.figures.spearman or 0.0
        draw = "" if row.worst_draw is None else f"{row.worst_draw:.1%}"
        print(
            f"| {row.measured} | {row.model} | {row.unit} | {one.mape:.1%} | {one.worst:.0%} "
            f"| {one.bias:+.0%} | {rank:.3f} | {draw} |"
        )
    provenance = record_provenance(seed=0)
    document = {"benchmark": "roofline", "commit": provenance.commit, "machine": provenance.machine}
    print(json.dumps(document | {"rows": [asdict(row) for row in rows]}))


def judge_networks(folder: Path) -> Iterator[Row]:
    """Whole networks on a Raspberry Pi 4: the 16 MobileNetV1, then all 49."""
    networks = list(measured_networks())
    works = [Work.of(network.operators) for network in networks]
    macs = np.array([network.macs for network in networks])
    is_v1 = np.array([network.family == "mobilenet-v1" for network in networks])
    v1 = np.flatnonzero(is_v1)[np.argsort(macs[is_v1])].tolist()
    sheet = Roofline.load("rpi4").model
    for title, system in SYSTEMS.items():
        _, ms = read_networks(folder, "fp32", system=system)
        fixed = {
            "data sheet, 28.8 GMAC/s, 3.1 GB/s": predict(sheet, works),
            "HPL and STREAM, 11.9 GMAC/s, 5 GB/s": predict(LINPACK, works),
            "MACs times a constant, fitted to them": macs * float(np.median(ms[v1] / macs[v1])),
        }
        for model, predicted in fixed.items():
            yield Row(title, model, "16 MobileNetV1", judge(predicted[v1], ms[v1]))
        for seen in ([v1[0], v1[-1]], [v1[0], v1[5], v1[10], v1[15]]):
            fitted = fit_roofline(sheet, [works[place] for place in seen], ms[seen])
            rest = [place for place in v1 if place not in seen]
            predicted = predict(fitted, works)
            yield Row(
                title,
                f"roofline calibrated on {len(seen)}",
                f"the other {len(rest)}",
                judge(predicted[rest], ms[rest]),
            )
        yield Row(title, "data sheet", "all 49", judge(predict(sheet, works), ms))
        yield Row(title, "MACs times a constant", "all 49", judge(macs * float(np.median(ms / macs)), ms))
        for count in (2, 4, 8):
            yield _judge_draws(title, sheet, works, ms, count)
        left_out = predict_left_out(sheet, works, ms, [network.name for network in networks])
        yield Row(title, "roofline calibrated on the others", "all 49, in ten folds", judge(left_out, ms))


def _judge_draws(title: str, sheet: RooflineModel, works: Sequence[Work], ms: Floats, count: int) -> Row:
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(DRAWS):
        seen = rng.choice(len(works), count, replace=False)
        rest = np.setdiff1d(np.arange(len(works)), seen)
        fitted = fit_roofline(sheet, [works[place] for place in seen.tolist()], ms[seen])
        draws.append(judge(predict(fitted, works)[rest], ms[rest]))
    return Row(title, f"roofline calibrated on {count} at random", "the other of 49", *_pool(draws))


def _pool(draws: Sequence[ErrorFigures]) -> tuple[ErrorFigures, float]:
    """Mean over draws of every figure, and the worst draw's mean error."""
    columns = [asdict(draw) for draw in draws]
    means = {name: float(np.mean([column[name] for column in columns])) for name in columns[0]}
    return ErrorFigures(**means), max(draw.mape for draw in draws)


@dataclass(frozen=True)
class Blocks:
    """The FBNet blocks of HW-NAS-Bench.

    Attributes:
        works: Of each.
        macs: `(n,)` float64.
        ms: `(n,)` float64 by device [ms].
        places: Blocks that may stand at a position.
    """

    works: tuple[Work, ...]
    macs: Floats
    ms: dict[str, Floats]
    places: dict[Position, list[int]]


def judge_blocks(folder: Path) -> Iterator[Row]:
    """Single blocks, and sums of 22 of them as in an FBNet, on three devices."""
    blocks = read_blocks(folder / "hwnasbench_fbnet_blocks.csv")
    rng = np.random.default_rng(0)
    columns = [rng.choice(blocks.places[place], SUMS) for place, times in POSITIONS for _ in range(times)]
    stacks = np.stack(columns, axis=1)
    sheet = Roofline.load("rpi4").model
    for title, device in DEVICES.items():
        ms = blocks.ms[device]
        fixed = {
            "MACs times a constant, fitted to them": blocks.macs * float(np.median(ms / blocks.macs)),
            "the Pi 4's data sheet": predict(sheet, blocks.works),
        }
        for model, predicted in fixed.items():
            yield Row(title, model, "192 blocks", judge(predicted, ms))
            yield Row(
                title, model, "sums of 22", judge(predicted[stacks].sum(axis=1), ms[stacks].sum(axis=1))
            )
        for count in (10, 30):
            singly, summed = [], []
            for _ in range(DRAWS):
                seen = rng.choice(len(ms), count, replace=False)
                rest = np.setdiff1d(np.arange(len(ms)), seen)
                fitted = fit_roofline(sheet, [blocks.works[place] for place in seen.tolist()], ms[seen])
                predicted = predict(fitted, blocks.works)
                singly.append(judge(predicted[rest], ms[rest]))
                summed.append(judge(predicted[stacks].sum(axis=1), ms[stacks].sum(axis=1)))
            model = f"roofline calibrated on {count}"
            yield Row(title, model, "the other blocks", *_pool(singly))
            yield Row(title, model, "sums of 22", *_pool(summed))


def read_blocks(path: Path) -> Blocks:
    """Read the 192 inverted residuals; a group of their 1x1 convolutions is kept."""
    works: list[Work] = []
    macs: list[float] = []
    places: dict[Position, list[int]] = defaultdict(list)
    ms: dict[str, list[float]] = {device: [] for device in DEVICES.values()}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["type"] != "ConvBlock":
                continue
            operators = _operators(row)
            place = (int(row["H"]), int(row["C_in"]), int(row["C_out"]), int(row["stride"]))
            places[place].append(len(works))
            works.append(Work.of(operators))
            macs.append(float(sum(operator.macs for operator in operators)))
            for device, found in ms.items():
                found.append(float(row[f"{device}_latency_ms"]))
    latencies = {device: np.array(found) for device, found in ms.items()}
    return Blocks(tuple(works), np.array(macs), latencies, dict(places))


def _operators(row: dict[str, str]) -> tuple[Operator, ...]:
    names = ("C_in", "C_out", "kernel", "stride", "H", "group")
    into, out, kernel, stride, size, groups = (int(row[name]) for name in names)
    mid, half, out_size = into * int(row["expansion"]), kernel // 2, -(-size // stride)
    return (
        Convolution("expand", (INPUT,), into, mid, 1, 1, groups, size, size, (0, 0)),
        Convolution("depthwise", ("expand",), mid, mid, kernel, stride, mid, size, out_size, (half, half)),
        Convolution("project", ("depthwise",), mid, out, 1, 1, groups, out_size, out_size, (0, 0)),
        *(
            [Elementwise("add", ("project", INPUT), "add", out, out_size)]
            if (stride, into) == (1, out)
            else []
        ),
    )


if __name__ == "__main__":
    main()
