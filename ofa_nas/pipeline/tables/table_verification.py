"""Verify a latency table: time fresh networks on its device, and keep in the table what they showed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from ofa_nas.activity import Activity
from ofa_nas.assets import asset_folder
from ofa_nas.devices import (
    HOST,
    Device,
    MeasuringProtocol,
    backend_of,
    check_address,
    is_address,
    open_device,
)
from ofa_nas.errors import ConfigError, SpaceError, TableError
from ofa_nas.latency.lint import Finding, lint_table
from ofa_nas.latency.measure import Measurement
from ofa_nas.latency.measured import Holdout
from ofa_nas.latency.references import Timed, reference_architectures, time_among_references, write_network
from ofa_nas.latency.shelf import describe_use, find_table, is_of
from ofa_nas.latency.table import LatencyTable
from ofa_nas.latency.table_writer import append_verification
from ofa_nas.latency.verification import (
    LEAST_NETWORKS,
    MOST_NETWORKS,
    Verification,
    draw_fresh,
    find_changes_of_machine,
    find_other_machine,
    macs_linear_ms,
)
from ofa_nas.provenance import record_provenance
from ofa_nas.randomness import rng_of
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.search_space import SearchSpace


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be timed, where and how.

    Attributes:
        path: File of the table.
        table: To verify.
        space: With its classes and all of its resolutions.
        address: Of the device.
        protocol: The table's own.
        networks: Fresh ones.
    """

    path: Path
    table: LatencyTable
    space: SearchSpace
    address: str
    protocol: MeasuringProtocol
    networks: tuple[Architecture, ...]

    @property
    def is_shipped(self) -> bool:
        """Whether the table came with this tool: its file is not a user's to change."""
        return self.path.resolve().is_relative_to(asset_folder("latency_tables").resolve())


@dataclass(frozen=True, slots=True)
class Verified:
    """A verification that is not yet in the table's history.

    Attributes:
        verification: To keep.
        findings: Of all lints, errors and doubts.
        references: How many times as long each reference takes as for the table; none without references.
    """

    verification: Verification
    findings: tuple[Finding, ...]
    references: Mapping[str, float]


def plan_verification(
    name: str,
    *,
    device: str | None = None,
    space: str | None = None,
    networks: int = LEAST_NETWORKS,
    precision: str | None = None,
    threads: int | None = None,
    seed: int,
) -> Plan:
    """Find table, space and device, and draw the networks; nothing is timed yet.

    Args:
        name: Of a table, shipped or measured before, or the path of its file.
        device: Address; without, where the table was measured, if that can be told.
        space: Name or TOML file; without, the space that the table names.
        networks: How many fresh ones.
        precision: Of the table; without, any.
        threads: Of the table, without any number; of ONNX Runtime where the table does not tell its own (1).
        seed: Of networks, weights and the order of visits.

    Raises:
        TableError: There is no such table, it is of another space, precision or number of threads, or does
            not say where it was measured.
        ConfigError: Too few networks, too many, or more than the space holds; no thread.
    """
    if not LEAST_NETWORKS <= networks <= MOST_NETWORKS:
        raise ConfigError(f"--networks {networks}: expected {LEAST_NETWORKS} to {MOST_NETWORKS}")
    if threads is not None and threads < 1:
        raise ConfigError(f"--threads {threads}: expected 1 or more")
    if is_address(name) and name != HOST:
        raise TableError(f"{name[:200]} is an address: name the table, and give the address to --device")
    path, table = find_table(name, precision=precision, threads=threads)
    if not is_of(table, precision, threads):
        raise TableError(
            f"latency table {table.name} is of {describe_use(table)}: --precision and --threads say otherwise"
        )
    whole = _find_space(table, space)
    address = check_address(device, "--device") if device else _find_address(table)
    known = {str(arch) for arch in reference_architectures(whole)}
    if table.measured:
        known.update(table.measured.fitted, (one.architecture for one in table.measured.holdouts))
    archs = draw_fresh(table.narrow(whole), networks, rng_of(seed), known=known)
    usual = MeasuringProtocol(threads=threads or table.device.threads or 1)
    protocol = replace(table.measured.protocol if table.measured else usual, seed=seed)
    return Plan(path, table, whole, address, protocol, archs)


def verify_table(plan: Plan) -> Iterator[Activity | Verified]:
    """Time the fresh networks among the references; the last record is what they showed.

    The references put all times at the speed at which the table was measured, as they did its hold-outs'. A
    table without references is held against the times as they are.

    Raises:
        TableError: The table does not hold a layer of one of them, or the device is another machine than that
            of a measured table; nothing was timed then.
        DeviceError: The device cannot be reached or cannot measure.
    """
    table = plan.table
    predicted = [table.latency_ms(plan.space, arch) for arch in plan.networks]
    device = open_device(plan.address)
    changes = find_changes_of_machine(table, device.info().environment)
    findings = lint_table(table, space=plan.space)
    timed: Timed | None = None
    for record in _time(device, plan):
        if isinstance(record, Activity):
            yield record
        else:
            timed = record
    assert timed
    found = timed.at_table_speed
    verification = Verification(
        device=plan.address,
        networks=_compare(plan, predicted, found),
        speed=timed.slowdown if timed.ratios else None,
        changes=changes,
        lint=tuple(f"{one.rule}: {one.message}" for one in findings if one.is_error),
        noisy=sum(one.noisy for one in found.values()),
        throttled=sum(one.throttled for one in found.values()),
        made_by=record_provenance(seed=plan.protocol.seed).to_json(),
    )
    yield Verified(verification, findings, timed.ratios)


def keep_verification(plan: Plan, found: Verification) -> Path | None:
    """Add a verification to the table's history; a shipped table stays as it is.

    Returns:
        The file that was written, if one was.

    Raises:
        TableError: The file holds another table by now.
        FileError: It cannot be written.
    """
    if plan.is_shipped:
        return None
    path = plan.path.resolve()  # a link stays a link
    append_verification(path, found, verified=plan.table)
    return path


def _find_space(table: LatencyTable, given: str | None) -> SearchSpace:
    held = table.rows_of
    if held is None:
        if given is None:
            raise ConfigError(
                f"latency table {table.name} is {table.provenance} and prices any space: say whose networks "
                "to time, such as --space efficientnet_lite"
            )
        return SearchSpace.load(given)
    try:
        space = SearchSpace.load(given or held.space).with_classes(held.classes)
    except SpaceError as error:
        if given:
            raise
        raise TableError(
            f"latency table {table.name} is of the space {held.space}, which does not ship: give its TOML "
            "file to --space"
        ) from error
    if space.digest != held.digest:
        raise TableError(
            f"latency table {table.name} is of {held.space} with {held.classes} classes and the digest "
            f"{held.digest}, not of {given or 'what ships under that name'}, whose digest is {space.digest}: "
            "give --space the TOML file that it is of, or measure it anew with ofa-nas profile"
        )
    return space


def told_address(table: LatencyTable) -> str:
    """Address of the board that a table says it was measured at; empty where it tells of none."""
    told = [one.device for one in reversed(table.history) if not one.changes]
    told += [table.address] if table.address else _only_device(table)
    # A file may not have other backends imported.
    boards = (text for text in told if is_address(text) and backend_of(text) == "ssh")
    return next((text for text in boards if text.isprintable()), "")


def _only_device(table: LatencyTable) -> list[str]:
    """The `--device` of the command that made a table; none where it had several, each of another table."""
    words = _words(table)
    given = [after for before, after in pairwise(words) if before == "--device"]
    given += [word.removeprefix("--device=") for word in words if word.startswith("--device=")]
    return given if len(given) == 1 else []


def _words(table: LatencyTable) -> list[str]:
    return str(table.made_by.get("command", "")).split()


def _find_address(table: LatencyTable) -> str:
    """Where a table was measured: as a good verification or the table itself tells, or this machine."""
    if table.measured is None:
        raise TableError(
            f"latency table {table.name} is {table.provenance}: there is nothing to verify it on, unless you "
            "have the device: --device host there, or --device ssh://USER@HOST"
        )
    if board := told_address(table):
        return board
    if not find_other_machine(table.measured.environment, open_device(HOST).info().environment):
        return HOST
    by_hand = (
        "; boards without a network path cannot be verified, only measured anew"
        if "--collect" in _words(table)
        else ""
    )
    raise TableError(
        f"latency table {table.name} was measured on another machine ({table.device.cpu}) and does not say "
        f"how to reach it: pass --device ssh://USER@HOST{by_hand}"
    )


def _time(device: Device, plan: Plan) -> Iterator[Activity | Timed]:
    precision = plan.table.device.precision
    references = reference_architectures(plan.space) if plan.table.references else ()
    visits = (len(references) + len(plan.networks)) * plan.protocol.rounds
    total = len(plan.networks) + visits
    rng = rng_of(plan.protocol.seed)
    models = []
    for done, arch in enumerate(plan.networks):
        yield Activity("", done, total)
        models.append(write_network(plan.space, arch, rng, name=str(arch), precision=precision))
    records = time_among_references(
        models,
        device,
        space=plan.space,
        then_ms=plan.table.references,
        precision=precision,
        protocol=plan.protocol,
    )
    for done, record in enumerate(records, start=len(models)):
        yield record if isinstance(record, Timed) else Activity("", min(done, total), total)


def _compare(
    plan: Plan, predicted: Sequence[float], measured: Mapping[str, Measurement]
) -> tuple[Holdout, ...]:
    held = plan.table.measured
    by_macs = macs_linear_ms(plan.space, held, plan.networks) if held else None
    return tuple(
        Holdout(
            architecture=str(arch),
            measured_ms=round(measured[str(arch)].latency_ms, 6),
            predicted_ms=round(predicted[number], 6),
            macs_ms=None if by_macs is None else round(float(by_macs[number]), 6),
            uncertainty=round(measured[str(arch)].uncertainty, 6),
        )
        for number, arch in enumerate(plan.networks)
    )
