"""Rooflines in closed form, boards that ship, and the refusal of milliseconds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofa_nas.errors import TableError
from ofa_nas.latency.roofline import (
    Roofline,
    RooflineModel,
    Work,
    explain,
    refuse_roofline,
    roofline_names,
)
from ofa_nas.section import Section
from ofa_nas.space.blocks import lower
from ofa_nas.space.layer import Layer
from ofa_nas.space.search_space import SearchSpace

POINTWISE = Layer("head_conv", "conv", 64, 64, 64, 1, 1, 10, 10, "relu")
MACS, BYTES = 64 * 64 * 100, 4 * (64 * 100 + 64 * 100 + 64 * 64)
BLOCK = Layer("s0b0", "mbconv", 8, 48, 8, 5, 1, 20, 20, "relu6", residual=True)
GOOD = """
description = "a board"
cpu = "one core"
cores = 1
precision = "fp32"
[peak]
gmac_per_s = 10.0
source = "data sheet"
[bandwidth]
gb_per_s = 2.0
source = "memset"
"""


def test_a_layer_takes_the_longer_of_arithmetic_and_memory() -> None:
    by_compute = RooflineModel(gmac_per_s=1.0, gb_per_s=1e3)
    by_memory = RooflineModel(gmac_per_s=1e3, gb_per_s=1.0)
    assert by_compute.layer_ms(POINTWISE) == pytest.approx(MACS / 1e6)
    assert by_memory.layer_ms(POINTWISE) == pytest.approx(BYTES / 1e6)
    assert RooflineModel(1e3, 1.0, overhead_ms=0.5).layer_ms(POINTWISE) == pytest.approx(BYTES / 1e6 + 0.5)
    assert RooflineModel(1e3, 1.0, element_bytes=1).layer_ms(POINTWISE) == pytest.approx(BYTES / 4e6)


def test_only_depthwise_macs_are_slowed_down() -> None:
    plain, slow = RooflineModel(1.0, 1e6), RooflineModel(1.0, 1e6, depthwise_slowdown=3.0)
    depthwise = 48 * 25 * 400
    assert slow.layer_ms(BLOCK) - plain.layer_ms(BLOCK) == pytest.approx(2 * depthwise / 1e6, rel=1e-6)
    assert slow.layer_ms(POINTWISE) == plain.layer_ms(POINTWISE)


def test_activations_are_free_and_the_residual_is_memory() -> None:
    work = Work.of(lower(BLOCK))
    assert work.macs.tolist() == [8 * 48 * 400, 48 * 25 * 400, 48 * 8 * 400, 0]
    assert work.bytes[-1] == 4 * 3 * 8 * 400
    assert work.is_depthwise.tolist() == [False, True, False, False]


def test_explanation_adds_up_and_says_what_binds(tiny: SearchSpace) -> None:
    model = RooflineModel(gmac_per_s=20.0, gb_per_s=3.0)
    layers = list(tiny.layers(tiny.largest))
    found = explain(model, layers)
    assert [one.layer for one in found.layers] == [layer.name for layer in layers]
    assert sum(one.share for one in found.layers) == pytest.approx(1.0)
    assert found.total_ms == pytest.approx(sum(map(model.layer_ms, layers)))
    memory = sum(one.share * one.memory_share for one in found.layers)
    assert found.memory_share == pytest.approx(memory)
    for one in found.layers:
        assert one.intensity == pytest.approx(one.macs / one.bytes)
        assert one.bound == ("memory" if one.memory_share > 0.5 else "compute")
    pool = next(one for one in found.layers if one.layer == "head_pool")
    assert (pool.macs, pool.bound, pool.memory_share) == (0, "memory", 1.0)


def test_the_ridge_parts_memory_from_compute() -> None:
    model = RooflineModel(gmac_per_s=28.8, gb_per_s=3.1)
    assert model.ridge == pytest.approx(9.29, abs=0.01)
    intensity = MACS / BYTES
    for factor, bound in ((0.99, "compute"), (1.01, "memory")):
        (one,) = explain(RooflineModel(intensity * factor, 1.0), [POINTWISE]).layers
        assert one.bound == bound


def test_every_bound_scales_with_memory_when_nothing_is_computed(tiny: SearchSpace) -> None:
    layers = list(tiny.layers(tiny.largest))
    assert explain(RooflineModel(1e6, 1.0), layers).memory_share == pytest.approx(1.0)
    assert explain(RooflineModel(1e-3, 1e6), layers).memory_share < 0.01


@pytest.mark.parametrize("name", roofline_names())
def test_every_shipped_roofline_names_its_sources_and_ranks(name: str) -> None:
    board = Roofline.load(name)
    assert board.name == name
    assert board.cores == 4
    assert "arithmetic: 4 cores" in board.peak_source
    assert "https://" in board.bandwidth_source
    space = SearchSpace.load("mobilenet_v3")
    ends = [explain(board.model, list(space.layers(arch))) for arch in (space.smallest, space.largest)]
    assert ends[0].total_ms < ends[1].total_ms
    assert 0.0 < ends[1].memory_share < 1.0


def test_the_pi_4_has_the_published_figures() -> None:
    model = Roofline.load("rpi4").model
    assert (model.gmac_per_s, model.gb_per_s) == (28.8, 3.1)
    assert {"rpi4", "rpi5", "rpi_zero2w"} == set(roofline_names())


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("gmac_per_s = 10.0", "gmac_per_s = 0", r"peak.gmac_per_s: expected a number"),
        ('source = "data sheet"', 'source = " "', r"peak.source: expected where"),
        ('source = "memset"', "", r"bandwidth.source: is missing"),
        ('precision = "fp32"', 'precision = "fp64"', r"precision: expected one of fp32, int8"),
        ("cores = 1", 'cores = 1\ncolour = "red"', r"colour: is not known here"),
        ("[peak]", "[top]", r"peak: is missing"),
    ],
)
def test_a_wrong_file_is_refused_by_its_key(old: str, new: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "board.toml"
    path.write_text(GOOD, encoding="utf-8")
    assert Roofline.load(str(path)).model.ridge == pytest.approx(5.0)
    path.write_text(GOOD.replace(old, new), encoding="utf-8")
    with pytest.raises(TableError, match=rf"board\.toml: {told}"):
        Roofline.load(str(path))


@pytest.mark.parametrize("figures", [(28.8, 3100.0), (28800.0, 3.1), (0.0288, 3.1), (28.8, 0.0031)])
def test_figures_in_another_unit_are_doubted(figures: tuple[float, float]) -> None:
    (told,) = RooflineModel(*figures).doubts
    assert told.startswith(f"Doubtful: {figures[0]:g} GMAC/s beside {figures[1]:g} GB/s")


def test_figures_of_boards_are_not_doubted() -> None:
    boards = [Roofline.load(name).model for name in roofline_names()]
    boards += [RooflineModel(0.5, 1.9), RooflineModel(69e3, 204.0)]  # a microcontroller, an int8 tensor core
    assert [model.doubts for model in boards] == [()] * len(boards)


@pytest.mark.parametrize("name", ["nope", "x" * 300])
def test_an_unknown_roofline_names_those_that_ship(name: str) -> None:
    told = f"{name[:200]}: no such roofline; shipped: rpi4, rpi5, rpi_zero2w; or give"
    with pytest.raises(TableError, match=told):
        Roofline.load(name)


def test_a_roofline_promises_no_milliseconds(tmp_path: Path) -> None:
    told = r"rpi5 is a roofline.*no milliseconds.*devices calibrate rpi5 measured\.csv.*ofa-nas profile"
    with pytest.raises(TableError, match=told):
        refuse_roofline("rpi5")
    path = tmp_path / "board.toml"
    path.write_text(GOOD, encoding="utf-8")
    with pytest.raises(TableError, match="a roofline of a board"):
        refuse_roofline(str(path))
    for name in ("rpi4", "host", "mine.json", "ssh://pi@board"):  # tables, and other devices
        refuse_roofline(name)


def read_pricing(content: dict[str, Any]) -> RooflineModel:
    return RooflineModel.read(Section(Path("t.json"), "pricing", content, TableError))


def test_a_model_survives_json_and_a_spoilt_one_is_refused() -> None:
    model = RooflineModel(11.5, 1.25, 3.5, 0.012, 1)
    assert read_pricing(model.to_json()) == model
    for key, value, told in (
        ("gmac_per_s", -1, "gmac_per_s: expected a number from 1e-09 to 1000000000.0, got -1"),
        ("gb_per_s", float("inf"), "gb_per_s: expected a number from .* got inf"),
        ("depthwise_slowdown", True, "depthwise_slowdown: expected a number from .* got True"),
        ("overhead_ms", -0.1, "overhead_ms: expected a number from 0.0 to .* got -0.1"),
        ("element_bytes", 2, "element_bytes: expected 1 or 4, got 2"),
    ):
        with pytest.raises(TableError, match=f"pricing.{told}"):
            read_pricing(model.to_json() | {key: value})
    with pytest.raises(TableError, match=r"t\.json: pricing\.gb_per_s: is missing"):
        read_pricing({"gmac_per_s": 1.0})


def test_work_of_several_operators_adds_up(tiny: SearchSpace) -> None:
    model = RooflineModel(12.0, 1.0, 3.0, 0.01)
    layers = list(tiny.layers(tiny.largest))
    whole = Work.of([operator for layer in layers for operator in lower(layer)])
    assert float(np.sum(model.work_ms(whole))) == pytest.approx(sum(map(model.layer_ms, layers)))
