"""Rooflines against boards that others timed; needs their figures."""

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.bench_roofline import LINPACK, SYSTEMS, read_blocks
from benchmarks.fit_rpi4 import read_networks
from benchmarks.rpi4_networks import measured_networks
from ofa_nas.latency.calibration import fit_roofline, predict
from ofa_nas.latency.measured import judge
from ofa_nas.latency.roofline import Roofline, Work

pytestmark = pytest.mark.skipif("OFA_NAS_DATA" not in os.environ, reason="no data sets at hand")
NETWORKS = list(measured_networks())
WORKS = [Work.of(network.operators) for network in NETWORKS]
V1 = sorted(
    (place for place, network in enumerate(NETWORKS) if network.family == "mobilenet-v1"),
    key=lambda place: NETWORKS[place].macs,
)
SHEET = Roofline.load("rpi4").model


def folder() -> Path:
    return Path(os.environ["OFA_NAS_DATA"]) / "rpi4"


@pytest.mark.parametrize(
    ("runtime", "sheet", "linpack", "calibrated"),
    [("TFLite-ruy", 0.645, 0.496, 0.08), ("ArmNN", 0.578, 0.389, 0.12)],
)
def test_data_sheets_are_far_too_fast_and_two_networks_mend_that(
    runtime: str, sheet: float, linpack: float, calibrated: float
) -> None:
    _, ms = read_networks(folder(), "fp32", system=SYSTEMS[runtime])
    by_sheet = judge(predict(SHEET, WORKS)[V1], ms[V1])
    assert by_sheet.mape == pytest.approx(sheet, abs=0.002)
    assert by_sheet.bias == pytest.approx(-by_sheet.mape)  # every one of them too fast
    assert judge(predict(LINPACK, WORKS)[V1], ms[V1]).mape == pytest.approx(linpack, abs=0.002)
    assert (judge(predict(SHEET, WORKS), ms).spearman or 0.0) > 0.98
    ends, rest = [V1[0], V1[-1]], V1[1:-1]
    fitted = fit_roofline(SHEET, [WORKS[place] for place in ends], ms[ends])
    assert judge(predict(fitted, WORKS)[rest], ms[rest]).mape < calibrated


@pytest.mark.parametrize(("device", "single"), [("raspi4", 0.23), ("pixel3", 0.2)])
def test_thirty_blocks_predict_the_others(device: str, single: float) -> None:
    blocks = read_blocks(folder() / "hwnasbench_fbnet_blocks.csv")
    assert len(blocks.works) == 192
    ms = blocks.ms[device]
    assert (judge(predict(SHEET, blocks.works), ms).spearman or 0.0) > 0.95
    seen = np.random.default_rng(0).choice(192, 30, replace=False)
    rest = np.setdiff1d(np.arange(192), seen)
    fitted = fit_roofline(SHEET, [blocks.works[place] for place in seen.tolist()], ms[seen])
    assert judge(predict(fitted, blocks.works)[rest], ms[rest]).mape < single


def test_a_roofline_is_no_use_for_a_gpu_at_batch_one() -> None:
    blocks = read_blocks(folder() / "hwnasbench_fbnet_blocks.csv")
    assert (judge(predict(SHEET, blocks.works), blocks.ms["edgegpu"]).spearman or 0.0) < 0.3
