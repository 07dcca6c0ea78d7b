"""No hold-out has any part in the table that it judges."""

from dataclasses import replace

import numpy as np
import pytest

from ofa_nas.devices import DeviceInfo, MeasuringProtocol, NodeTime, Profile, Visit
from ofa_nas.latency.measured import Measured
from ofa_nas.latency.profile import Networks
from ofa_nas.latency.session import Session, make_table
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.costs import network_macs
from tests.pipeline.simulated_board import ENVIRONMENT, MODEL, SPACE, true_ms

PROTOCOL = MeasuringProtocol(rounds=5, max_rounds=5)
NETWORKS = Networks.draw(SPACE, SPACE.resolutions, seed=0)
LATIN, ANCHORS, HOLDOUTS = (
    [arch for design in NETWORKS.designs for arch in getattr(design, kind)]
    for kind in ("latin", "anchors", "holdouts")
)


def profile_of(arch: Architecture, *, tilt: float = 0.0) -> Profile:
    """Node times as they are, or with layers that take the more the later they run."""
    layers = list(SPACE.layers(arch))
    slower = np.linspace(1.0, 1.0 + tilt, num=len(layers))
    nodes = [
        NodeTime(f"{layer.name}/conv", "Conv", MODEL.layer_ms(layer) * factor)
        for layer, factor in zip(layers, slower.tolist(), strict=True)
    ]
    return Profile(str(arch), tuple(nodes), 0)


@pytest.fixture(scope="module")
def session() -> Session:
    rng = np.random.default_rng(1)
    profiles = [profile_of(arch) for arch in LATIN]
    visits = []
    for _ in range(PROTOCOL.rounds):
        for name in rng.permutation(NETWORKS.names).tolist():
            walls = tuple((true_ms(SPACE.parse(name)) * np.exp(0.01 * rng.normal(size=5))).tolist())
            visits.append(Visit(name, walls, walls, spoilt=False, throttled=False))
    return Session.of(NETWORKS.designs, [*profiles, *visits], PROTOCOL)


def retimed(session: Session, archs: list[Architecture]) -> Session:
    """As if some networks had been slower, each by a factor of its own, and their times uncertain."""
    changed = {}
    for number, arch in enumerate(archs):
        one = session.measurements[str(arch)].at_speed(1 / (1.5 + number % 7))
        changed[one.model] = replace(one, low_ms=0.5 * one.low_ms, high_ms=2 * one.high_ms)
    return replace(session, measurements={**session.measurements, **changed})


def measured_of(session: Session) -> Measured:
    info = DeviceInfo.from_json(ENVIRONMENT, name="simulated")
    table = make_table(SPACE, session, info=info, protocol=PROTOCOL, precision="fp32")
    assert table.measured
    return table.measured


def predictions_of(found: Measured) -> dict[str, tuple[float, float | None]]:
    return {one.architecture: (one.predicted_ms, one.macs_ms) for one in found.holdouts}


def test_times_of_holdouts_change_nothing_but_the_verdict(session: Session) -> None:
    before, after = measured_of(session), measured_of(retimed(session, HOLDOUTS))
    assert (after.rows, after.intercepts_ms, after.fitted) == (
        before.rows,
        before.intercepts_ms,
        before.fitted,
    )
    assert predictions_of(after) == predictions_of(before)  # by the table, and by the line through MACs
    for old, new in zip(before.holdouts, after.holdouts, strict=True):
        assert new.measured_ms > old.measured_ms
        assert new.uncertainty > old.uncertainty
    assert after.errors().mape > before.errors().mape
    assert after.errors(by_macs=True).mape > before.errors(by_macs=True).mape


def test_a_table_is_the_same_however_few_holdouts_judge_it(session: Session) -> None:
    designs = tuple(replace(design, holdouts=design.holdouts[::-1][:3]) for design in session.designs)
    all_of_them, few = measured_of(session), measured_of(replace(session, designs=designs))
    assert (few.rows, few.intercepts_ms) == (all_of_them.rows, all_of_them.intercepts_ms)
    assert len(few.holdouts) == 3 * len(designs)
    assert predictions_of(few).items() <= predictions_of(all_of_them).items()


def test_profiles_of_holdouts_are_not_read(session: Session) -> None:
    profiles = tuple(profile_of(arch, tilt=5.0) for arch in HOLDOUTS)
    assert measured_of(replace(session, profiles=session.profiles + profiles)) == measured_of(session)


@pytest.mark.parametrize("archs", [LATIN, ANCHORS], ids=["latin", "anchors"])
def test_table_and_line_rest_on_designs_and_anchors(session: Session, archs: list[Architecture]) -> None:
    before, after = measured_of(session), measured_of(retimed(session, archs))
    assert after.rows != before.rows
    assert after.intercepts_ms != before.intercepts_ms
    for architecture, (predicted_ms, macs_ms) in predictions_of(after).items():
        old_ms, old_macs_ms = predictions_of(before)[architecture]
        assert predicted_ms != old_ms
        assert macs_ms != old_macs_ms
    assert [one.measured_ms for one in after.holdouts] == [one.measured_ms for one in before.holdouts]


def test_the_line_through_macs_is_the_one_that_fitted_networks_lie_on(session: Session) -> None:
    def line_ms(arch: Architecture) -> float:
        return 0.25 + 0.5 * network_macs(SPACE, arch) / 1e6

    exact = {
        str(arch): replace(session.measurements[str(arch)], latency_ms=line_ms(arch))
        for arch in LATIN + ANCHORS
    }
    found = measured_of(replace(session, measurements={**session.measurements, **exact}))
    for one in found.holdouts:
        assert one.macs_ms == pytest.approx(line_ms(SPACE.parse(one.architecture)), abs=2e-6)


def test_what_a_table_says_it_was_fitted_to_holds_no_holdout(session: Session) -> None:
    found = measured_of(session)
    assert set(found.fitted) == set(map(str, LATIN + ANCHORS))
    assert {one.architecture for one in found.holdouts} == set(map(str, HOLDOUTS))
    assert {one.architecture for one in found.holdouts}.isdisjoint(found.fitted)
