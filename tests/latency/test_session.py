"""A table of several resolutions is at one speed, whatever the machine did between its sessions."""

import numpy as np
import pytest

from ofa_nas.devices import DeviceInfo, NodeTime, Profile
from ofa_nas.latency.design import Design, draw_design
from ofa_nas.latency.measure import Measurement
from ofa_nas.latency.references import reference_architectures, reference_name
from ofa_nas.latency.session import Session, make_table
from ofa_nas.latency.table import LatencyTable
from ofa_nas.space.architecture import Architecture
from tests.pipeline.simulated_board import ENVIRONMENT, MODEL, PROTOCOL, SPACE, true_ms

BUSY = 1.12  # how many times as long everything takes in the first session


def measured(name: str, ms: float) -> Measurement:
    return Measurement(
        name, ms, 0.997 * ms, 1.003 * ms, ms, 0.0, ms, ms, visits=10, runs=50, noisy=False, throttled=False
    )


def profile_of(arch: Architecture) -> Profile:
    nodes = [NodeTime(f"{layer.name}/conv", "Conv", MODEL.layer_ms(layer)) for layer in SPACE.layers(arch)]
    return Profile(str(arch), tuple(nodes), 0)


def session_of(design: Design, slowness: float) -> Session:
    measurements = {str(arch): measured(str(arch), slowness * true_ms(arch)) for arch in design.networks}
    return Session(design, tuple(map(profile_of, design.latin)), measurements)


@pytest.fixture
def table() -> LatencyTable:
    rng = np.random.default_rng(0)
    designs = [draw_design(SPACE, size, rng) for size in SPACE.resolutions]
    bridge = {str(arch): measured(str(arch), true_ms(arch)) for design in designs for arch in design.bridges}
    bridge |= {
        (name := reference_name(arch)): measured(name, true_ms(arch))
        for arch in reference_architectures(SPACE)
    }
    sessions = [session_of(design, BUSY if number == 0 else 1.0) for number, design in enumerate(designs)]
    info = DeviceInfo.from_json(ENVIRONMENT, name="simulated")
    return make_table(SPACE, sessions, bridge, info=info, protocol=PROTOCOL, precision="fp32")


def test_a_session_on_a_busier_machine_is_brought_to_the_speed_of_the_others(table: LatencyTable) -> None:
    assert table.measured
    for holdout in table.measured.holdouts:
        exact = true_ms(SPACE.parse(holdout.architecture))
        assert holdout.measured_ms == pytest.approx(exact, rel=1e-4)
        assert holdout.predicted_ms == pytest.approx(exact, rel=0.02)


def test_references_are_at_that_speed_too(table: LatencyTable) -> None:
    assert table.measured
    assert table.measured.references == {
        reference_name(arch): pytest.approx(true_ms(arch)) for arch in reference_architectures(SPACE)
    }


def test_a_session_moves_as_a_whole() -> None:
    design = draw_design(SPACE, SPACE.resolutions[0], np.random.default_rng(1))
    session = session_of(design, BUSY)
    moved = session.at_speed_of({str(arch): measured(str(arch), true_ms(arch)) for arch in design.bridges})
    for arch in design.networks:
        one = moved.measurements[str(arch)]
        assert (one.latency_ms, one.p90_ms) == pytest.approx((true_ms(arch), true_ms(arch)))
        assert one.uncertainty == pytest.approx(session.measurements[str(arch)].uncertainty)
