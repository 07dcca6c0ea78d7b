"""A board without hardware: a roofline with a little noise, behind an address that says how it behaves.

`tests.pipeline.simulated_board://speed=1.1,governor=powersave,break_at=5`: it takes 1.1 times as long, runs
under another governor, and the user presses Ctrl-C at the fifth visit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ofa_nas.devices import AnyModel, Device, DeviceInfo, MeasuringProtocol, Profile, Visit
from ofa_nas.latency.attribution import LayerLatency
from ofa_nas.latency.design import draw_design
from ofa_nas.latency.measured import Holdout, Measured
from ofa_nas.latency.references import REFERENCE, reference_architectures, reference_name
from ofa_nas.latency.roofline import RooflineModel
from ofa_nas.latency.table import LatencyTable, TableDevice
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.costs import every_layer, network_macs
from ofa_nas.space.search_space import SearchSpace

ADDRESS = "tests.pipeline.simulated_board://"
SPACE = SearchSpace.load("tiny")
MODEL = RooflineModel(2.0, 0.2, 5.0, 0.005)
CONSTANT_MS = 0.1
NOISE = 0.004
GAIN = {1: 1.0, 2: 1.6, 4: 2.2}  # how many times as fast it is with so many threads
PROTOCOL = MeasuringProtocol(rounds=4, max_rounds=4)
ENVIRONMENT = {
    "kind": "device",
    "host_name": "pi",
    "cpu": "Cortex-A72",
    "cores": 4,
    "architecture": "aarch64",
    "system": "Linux 6.1",
    "onnxruntime": "1.31.1",
    "board": "Raspberry Pi 4",
    "governor": "performance",
    "frequencies_mhz": [600.0, 1500.0],
    "fastest_core_mhz": [600.0, 1500.0, 1500.0],
    "warnings": [],
}


def true_ms(arch: Architecture) -> float:
    return CONSTANT_MS + sum(map(MODEL.layer_ms, SPACE.layers(arch)))


class SimulatedBoard:
    def __init__(self, speed: float, governor: str, break_at: int) -> None:
        self.speed = speed
        self.environment = {**ENVIRONMENT, "governor": governor}
        self.break_at = break_at

    def info(self) -> DeviceInfo:
        return DeviceInfo.from_json(self.environment, name="simulated")

    def time(self, models: Sequence[AnyModel], protocol: MeasuringProtocol) -> Iterator[Visit]:
        rng = np.random.default_rng(protocol.seed)
        visits = 0
        for _ in range(protocol.rounds):
            for model in models:
                visits += 1
                if visits == self.break_at:
                    raise KeyboardInterrupt
                arch = SPACE.parse(model.name.removeprefix(REFERENCE))
                level = self.speed * true_ms(arch) / GAIN[protocol.threads]
                ms = level * np.exp(NOISE * rng.normal(size=5))
                yield Visit(model.name, tuple(ms.tolist()), tuple(ms.tolist()), spoilt=False, throttled=False)

    def profile(self, models: Sequence[AnyModel], protocol: MeasuringProtocol) -> Iterator[Profile]:
        raise NotImplementedError

    def forget(self) -> None:
        pass


def connect(address: str) -> Device:
    told = dict(word.split("=") for word in address.removeprefix(ADDRESS).split(",") if word)
    return SimulatedBoard(
        float(told.get("speed", 1.0)), told.get("governor", "performance"), int(told.get("break_at", 0))
    )


def simulated_table(*, seed: int = 0) -> LatencyTable:
    """A table of the board, as exact as one can be."""
    rng = np.random.default_rng(seed)
    rows = {layer: MODEL.layer_ms(layer) for size in SPACE.resolutions for layer in every_layer(SPACE, size)}
    holdouts: list[Holdout] = []
    fitted: list[str] = []
    for size in SPACE.resolutions:
        design = draw_design(SPACE, size, rng)
        anchors = design.latin + design.anchors
        line = np.polyfit([_macs(arch) for arch in anchors], [true_ms(arch) for arch in anchors], deg=1)
        fitted += map(str, anchors)
        for arch in design.holdouts:
            exact, by_macs = true_ms(arch), float(np.polyval(line, _macs(arch)))
            measured_ms = exact * float(np.exp(NOISE * rng.normal()))
            holdouts.append(
                Holdout(str(arch), round(measured_ms, 6), round(exact, 6), round(by_macs, 6), NOISE)
            )
    measured = Measured(
        space=SPACE.name,
        digest=SPACE.digest,
        classes=SPACE.classes,
        resolutions=SPACE.resolutions,
        intercepts_ms=(CONSTANT_MS,) * len(SPACE.resolutions),
        rows=tuple(LayerLatency(layer, round(ms, 6), 0.0) for layer, ms in rows.items()),
        holdouts=tuple(holdouts),
        seed=seed,
        noisy=0,
        throttled=0,
        networks=len(fitted) + len(holdouts) + 3,
        protocol=PROTOCOL,
        environment=ENVIRONMENT,
        references={reference_name(arch): round(true_ms(arch), 6) for arch in reference_architectures(SPACE)},
        fitted=tuple(fitted),
    )
    return LatencyTable(
        name="simulated",
        device=TableDevice("simulated", "Cortex-A72", 4, "onnxruntime 1.31.1", 1),
        held=measured,
        error=measured.errors(),
        notes=(),
        sources=(),
        made_by={"made_on": "2026-11-22T12:00:00+00:00", "command": "ofa-nas profile", "seed": seed},
    )


def with_prices(table: LatencyTable, prices: Sequence[float]) -> LatencyTable:
    """The same table with other prices of its rows [ms]."""
    assert table.measured
    rows = tuple(replace(row, ms=ms) for row, ms in zip(table.measured.rows, prices, strict=True))
    return replace(table, held=replace(table.measured, rows=rows))


def _macs(arch: Architecture) -> float:
    return network_macs(SPACE, arch) / 1e6
