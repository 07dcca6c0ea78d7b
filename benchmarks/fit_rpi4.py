"""Fit operator models to the networks timed on a Raspberry Pi 4: the tables `rpi4` and `rpi4_int8`.

Reads `mlperf_v2.0_rpi4_ms.csv` and `hwnasbench_fbnet_blocks.csv` in `$OFA_NAS_DATA/rpi4`. Prints the errors
found by leaving out one network, or one family, at a time.
"""

import argparse
import csv
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rpi4_networks import Network, measured_networks
from ofa_nas.arrays import Floats
from ofa_nas.assets import asset_folder
from ofa_nas.files import write_json
from ofa_nas.latency.measured import ErrorFigures, judge
from ofa_nas.latency.operator_model import OperatorModel, fit_operator_model, sum_features
from ofa_nas.latency.table import SCHEMA, LatencyTable, TableDevice
from ofa_nas.provenance import record_provenance
from ofa_nas.space.operators import INPUT, Convolution, Operator

SYSTEM = "rpi4-tflite-v2.7.1-ruy"
OTHER_SYSTEM = "rpi4-armnn-v21.11-neon"  # another runtime; the features were not chosen by it
DEVICE = TableDevice(
    name="Raspberry Pi 4",
    cpu="BCM2711, 4 x Cortex-A72, 1.8 GHz",
    cores=4,
    runtime="TensorFlow Lite 2.7.1, ruy",
    threads=None,
)
THREADS_NOTE = "The source does not state threads; the speed shows that more than one core worked."
NOTES = [
    "Nobody here timed anything on this board: a model fitted to 49 fp32 networks that others timed on it.",
    "Stands for TensorFlow Lite; ONNX Runtime took 1.02 times as long at the median of 572 detectors there.",
    "The middle half of those took 0.86 to 1.24 times as long.",
    THREADS_NOTE,
    "Better: measure yours with `ofa-nas profile --device ssh://USER@HOST --name my-rpi4`.",
]
INT8_NOTES = [
    "Nobody here timed anything on this board: a model fitted to 45 uint8 networks that others timed on it.",
    "Stands for TensorFlow Lite; what ONNX Runtime takes for int8 networks on this board is not known.",
    "Hard-swish and squeeze-excite are in two of those networks; ONNX Runtime computes hard-swish in fp32.",
    THREADS_NOTE,
    "Better: measure yours with `ofa-nas profile --device ssh://USER@HOST --precision int8 --name my-rpi4`.",
]
SOURCES = [
    "MLPerf inference v2.0, rpi4-tflite-v2.7.1-ruy, single stream, p50; Apache-2.0",
    "HW-NAS-Bench (arXiv:2103.10584), FBNet blocks on a Raspberry Pi 4, as a check; MIT",
]
FEATURES = {
    "fp32": (
        *("pointwise_macs", "depthwise_macs", "full_macs", "convolution_pixels", "weights"),
        *("hard_swish_elements", "elements_moved"),
    ),
    "int8": (  # 3 x 3 depthwise convolutions are as fast as memory; with less work, starting operators shows
        *("pointwise_macs", "wide_depthwise_macs", "full_macs", "convolution_pixels", "weights"),
        *("hard_swish_elements", "elements_moved", "operators"),
    ),
}
SUFFIXES = {"fp32": ("_float", "-non-quantized"), "int8": ("_uint8", "-quantized")}  # of names of models


@dataclass(frozen=True, slots=True)
class BlockCheck:
    """How the model orders blocks that were timed alone, on one core, by another runtime.

    Attributes:
        blocks: How many.
        spearman: Rank correlation of predicted and measured.
        macs_spearman: Rank correlation of MACs and measured.
        ratio_quartiles: Quartiles of measured over predicted.
    """

    blocks: int
    spearman: float | None
    macs_spearman: float | None
    ratio_quartiles: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Validation:
    """All errors of the model: judged on what it was fitted to, and on what it has not seen.

    `blocks` are in fp32; `other_runtime` is the mean error, networks left out singly, of the same features
    fitted to the same networks on another runtime.
    """

    fitted: ErrorFigures
    network_left_out: ErrorFigures
    family_left_out: ErrorFigures
    other_runtime: float
    blocks: BlockCheck | None


@dataclass(frozen=True, slots=True)
class NetworkRow:
    """One measured network and what is predicted for it [ms].

    Attributes:
        name: As in the measurements.
        measured_ms: Median of a run of ten minutes.
        fitted_ms: By the model that ships.
        left_out_ms: By a model fitted to all others.
        family_left_out_ms: By a model fitted to other families.
    """

    name: str
    measured_ms: float
    fitted_ms: float
    left_out_ms: float
    family_left_out_ms: float


def main() -> None:
    """Fit, check, print, write."""
    parser = argparse.ArgumentParser(description="Fit the estimated tables of the Raspberry Pi 4.")
    parser.add_argument("--precision", nargs="+", choices=tuple(FEATURES), default=tuple(FEATURES))
    for precision in parser.parse_args().precision:
        fit(Path(os.environ["OFA_NAS_DATA"]) / "rpi4", precision)


def fit(folder: Path, precision: str) -> None:
    """Fit, check, print and write the table of a precision."""
    networks, measured_ms = read_networks(folder, precision)
    names = FEATURES[precision]
    features = np.array([sum_features(network.operators, names) for network in networks])
    model = fit_operator_model(features, measured_ms, names)
    groups = [network.name for network in networks]
    singly_ms = predict_left_out(features, measured_ms, groups, names)
    family_ms = predict_left_out(features, measured_ms, [network.family for network in networks], names)
    _, other_ms = read_networks(folder, precision, system=OTHER_SYSTEM)
    other = judge(predict_left_out(features, other_ms, groups, names), other_ms)
    columns = zip(networks, measured_ms, model.network_ms(features), singly_ms, family_ms, strict=True)
    rows = [NetworkRow(network.name, *(round(float(ms), 3) for ms in values)) for network, *values in columns]
    validation = Validation(
        fitted=judge(model.network_ms(features), measured_ms),
        network_left_out=judge(singly_ms, measured_ms),
        family_left_out=judge(family_ms, measured_ms),
        other_runtime=other.mape,
        blocks=check_blocks(model, folder / "hwnasbench_fbnet_blocks.csv") if precision == "fp32" else None,
    )
    print_rows(rows)
    print(json.dumps({"validation": _rounded(asdict(validation)), "pricing": model.to_json()}))
    document = make_document(model, rows, validation, precision=precision)
    path = asset_folder("latency_tables") / f"{document['name']}.json"
    write_json(path, document)
    print(f"wrote {path}: {LatencyTable.load(path).provenance}")


def make_document(
    model: OperatorModel, rows: list[NetworkRow], validation: Validation, *, precision: str
) -> dict[str, object]:
    """Put the table together."""
    is_fp32 = precision == "fp32"
    return {
        "schema": SCHEMA,
        "name": "rpi4" if is_fp32 else f"rpi4_{precision}",
        "provenance": "estimated",
        "device": asdict(replace(DEVICE, precision=precision)),
        "notes": NOTES if is_fp32 else INT8_NOTES,
        "sources": SOURCES if is_fp32 else SOURCES[:1],
        "pricing": model.to_json(),
        "validation": _rounded(asdict(validation)),
        "made_by": replace(record_provenance(seed=0), command="python -m benchmarks.fit_rpi4").to_json(),
        "networks": [asdict(row) for row in rows],
    }


def _rounded(value: Any) -> Any:
    """Round every number of plain values to four places."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_rounded(item) for item in value]
    return round(value, 4) if isinstance(value, float) else value


def print_rows(rows: list[NetworkRow]) -> None:
    """Print what each network took, and how far the predictions are off."""
    print(f"{'network':42}{'measured ms':>12}{'fitted':>9}{'left out':>10}{'family left out':>17}")
    for row in rows:
        relative = [
            ms / row.measured_ms - 1 for ms in (row.fitted_ms, row.left_out_ms, row.family_left_out_ms)
        ]
        shown = f"{relative[0]:+9.1%}{relative[1]:+10.1%}{relative[2]:+17.1%}"
        print(f"{row.name:42}{row.measured_ms:12.1f}{shown}")


def read_networks(folder: Path, precision: str, *, system: str = SYSTEM) -> tuple[list[Network], Floats]:
    """Read which networks were timed on a system, and their median latencies: `(n,)` float64 [ms]."""
    with (folder / "mlperf_v2.0_rpi4_ms.csv").open(newline="") as file:
        rows = {row["model"]: float(row["p50_ms"]) for row in csv.DictReader(file) if row["system"] == system}
    described = {network.name: network for network in measured_networks()}
    found = {
        name.removesuffix(suffix): ms
        for suffix in SUFFIXES[precision]
        for name, ms in rows.items()
        if name.endswith(suffix) and not name.endswith(f"-non{suffix}")
    }
    assert set(found) <= set(described), "the file holds other networks"
    networks = [network for name, network in described.items() if name in found]
    return networks, np.array([found[network.name] for network in networks])


def predict_left_out(
    features: Floats, latency_ms: Floats, groups: list[str], names: tuple[str, ...]
) -> Floats:
    """Predict each group by a model fitted to the others: `(n,)` float64 [ms]."""
    labels = np.array(groups)
    predicted = np.empty(len(labels))
    for group in set(groups):
        left_out = labels == group
        model = fit_operator_model(features[~left_out], latency_ms[~left_out], names)
        predicted[left_out] = model.network_ms(features[left_out])
    return predicted


def check_blocks(model: OperatorModel, path: Path) -> BlockCheck:
    """Compare with the ungrouped FBNet blocks of HW-NAS-Bench."""
    blocks, latencies = zip(*_read_blocks(path), strict=True)
    measured_ms = np.array(latencies)
    features = np.array([sum_features(operators, model.names) for operators in blocks])
    predicted_ms = features @ np.array(model.ms_per_unit)
    macs = np.array([float(sum(operator.macs for operator in operators)) for operators in blocks])
    quartiles = np.quantile(measured_ms / predicted_ms, (0.25, 0.5, 0.75))
    return BlockCheck(
        blocks=len(blocks),
        spearman=judge(predicted_ms, measured_ms).spearman,
        macs_spearman=judge(macs, measured_ms).spearman,
        ratio_quartiles=tuple(float(ratio) for ratio in quartiles),
    )


def _read_blocks(path: Path) -> Iterator[tuple[tuple[Operator, ...], float]]:
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["type"] != "ConvBlock" or row["group"] != "1":
                continue
            into, out, kernel, stride, size = (
                int(row[key]) for key in ("C_in", "C_out", "kernel", "stride", "H")
            )
            mid, half, out_size = into * int(row["expansion"]), kernel // 2, -(-size // stride)
            yield (
                (
                    Convolution("expand", (INPUT,), into, mid, 1, 1, 1, size, size, (0, 0)),
                    Convolution(
                        "depthwise", ("expand",), mid, mid, kernel, stride, mid, size, out_size, (half, half)
                    ),
                    Convolution("project", ("depthwise",), mid, out, 1, 1, 1, out_size, out_size, (0, 0)),
                ),
                float(row["raspi4_latency_ms"]),
            )


if __name__ == "__main__":
    main()
