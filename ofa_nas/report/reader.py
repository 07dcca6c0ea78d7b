"""Read the JSON document of a search, or of a run's folder, and check all of it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ofa_nas.errors import FileError
from ofa_nas.export.check import Check
from ofa_nas.files import read_json
from ofa_nas.report.document import (
    Answer,
    Figures,
    HeldOut,
    LayerFigures,
    Limit,
    MeasuredNetworks,
    Network,
    OperatorFigures,
    Point,
    SearchDocument,
    StageFigures,
)
from ofa_nas.report.fields import (
    LARGEST,
    amount,
    amount_or_none,
    amounts,
    architecture_text,
    difference,
    differences,
    each,
    optional,
)
from ofa_nas.report.origins import read_facts, read_table
from ofa_nas.search.budgets import KINDS, Budget, Cost
from ofa_nas.section import Section

SEARCH, VERIFICATION = "search.json", "verification.json"  # of a run's folder
COSTS = ("accuracy", *KINDS)


def read_search(path: Path) -> SearchDocument:
    """Read what a report is made of.

    Args:
        path: A file that `ofa-nas search --json` or `--json-file` wrote, or a folder that holds it as
            `search.json`, and maybe what `ofa-nas verify` found as `verification.json`.

    Raises:
        FileError: It is missing, or holds something else; the message names file and key.
    """
    if not path.is_dir():
        return read_document(read_json(path, error=FileError), path)
    if not (path / SEARCH).is_file():
        raise FileError(
            f"{path}: no {SEARCH} in this folder: give the file that a search wrote with --json-file"
        )
    document = read_document(read_json(path / SEARCH, error=FileError), path / SEARCH)
    if document.checks or not (path / VERIFICATION).is_file():
        return document
    found = Section(path / VERIFICATION, "", read_json(path / VERIFICATION, error=FileError), FileError)
    chosen = document.main.chosen
    if chosen is None or found.text("architecture") != chosen.architecture:
        return document  # of another file
    return replace(document, checks=each(found, "checks", _read_check))


def read_document(content: Mapping[str, Any], path: Path) -> SearchDocument:
    """Read a document that is in memory; `path` is for messages.

    Raises:
        FileError: It is no document of a search; the message names the key.
    """
    root = Section(path, "", dict(content), FileError)
    if "front" not in content or not {"answers", "architecture"} & content.keys():
        raise FileError(f"{path}: not the document of a search: give what ofa-nas search --json-file wrote")
    answers = each(root, "answers", _read_answer) if "answers" in content else (_read_answer(root),)
    document = SearchDocument(
        supernet=root.text("supernet"),
        space=root.text("space"),
        predictor=root.text("predictor", default=""),
        devices=each(root, "devices", lambda one: (one.text("name"), one.text("provenance"))),
        answers=answers,
        front=each(root, "front", _read_point),
        checks=each(root, "checks", _read_check),
        finalists=optional(root, "finalists", _read_finalists),
        contest=optional(root, "contest", _read_contest),
        study=optional(root, "study", _read_study),
        tables=each(root, "tables", read_table),
        facts=tuple(read_facts(root, is_exact=all(one.is_exact for one in answers if one.chosen))),
        command=optional(root, "made_by", lambda one: one.text("command")) or "",
    )
    _check_whole(document, path)
    return document


def _check_whole(document: SearchDocument, path: Path) -> None:
    """Refuse a document whose parts do not go together."""
    if not document.found:
        raise FileError(f"{path}: answers: expected one or more that holds an architecture")
    devices = {name for name, _ in document.devices}
    told = ", ".join(sorted(devices))[:200] or "none"
    points = [*document.front, *(answer.chosen for answer in document.found if answer.chosen)]
    for timed in (document.finalists, document.contest, document.study):
        points += timed.networks if timed else ()
    for point in points:
        if set(point.predicted.latency_ms) != devices or not set(point.latency_ms or {}) <= devices:
            raise FileError(f"{path}: latency_ms of {point.architecture}: expected latencies on {told}")
    for answer in document.found:
        network = answer.network
        timings = [network.constant_ms, *(one.latency_ms for one in network.layers)] if network else []
        if any(set(timing) != devices for timing in timings):
            raise FileError(f"{path}: network: expected latencies on {told}")
    costs = [("budgets", limit.budget.key) for answer in document.answers for limit in answer.limits]
    costs += [("objective", answer.goal[1]) for answer in document.answers if answer.goal]
    for where, cost in costs:
        if (cost.name == "latency") != (cost.device in devices):
            raise FileError(f"{path}: {where}: {cost.device[:80]!r} is none of the devices")


def _read_figures(section: Section) -> Figures:
    return Figures(
        accuracy=section.number("accuracy", minimum=0.0, maximum=1.0),
        half_width=amount_or_none(section, "accuracy_half_width"),
        latency_ms=amounts(section, "latency_ms"),
        peak_bytes=amount(section, "peak_activation_bytes"),
        weight_bytes=amount(section, "weight_bytes"),
        macs=amount(section, "macs"),
    )


def _read_point(section: Section) -> Point:
    return Point(architecture_text(section), _read_figures(section.section("predicted")))


def _read_answer(section: Section) -> Answer:
    limits = each(section, "budgets", _read_limit)
    if section.has("unmet"):
        return Answer(None, limits, unmet=section.text("unmet"))
    return Answer(
        chosen=_read_point(section),
        limits=limits,
        goal=optional(section, "objective", _read_goal),
        bound=amount_or_none(section, "accuracy_bound"),
        is_exact=section.flag("is_exact", default=False),
        by_seed=section.numbers("by_seed", minimum=0.0, maximum=LARGEST),
        network=optional(section, "network", _read_network),
    )


def _read_limit(section: Section) -> Limit:
    name = section.text("name", choices=tuple(KINDS))
    device = "" if section.lacks("device") else section.text("device")
    budget = Budget(
        name,
        section.number("limit", minimum=1e-9, maximum=LARGEST),
        KINDS[name].unit,
        device,
        section.number("margin", minimum=0.0, maximum=1.0),
    )
    return Limit(budget, section.content.get("binds") is True)


def _read_goal(section: Section) -> tuple[float, Cost] | None:
    name = section.text("name", choices=COSTS)
    if name == "accuracy":
        return None
    device = "" if section.lacks("device") else section.text("device")
    return section.number("accuracy", minimum=0.0, maximum=1.0), Cost(name, device)


def _read_network(section: Section) -> Network:
    layers = each(section, "layers", _read_layer)
    stages = each(section, "stages", _read_stage)
    if not layers or any(one.stage is not None and one.stage >= len(stages) for one in layers):
        raise section.refusal("layers", "expected one or more, each of one of the stages or of none")
    return Network(section.integer("resolution"), stages, layers, differences(section, "constant_ms"))


def _read_stage(section: Section) -> StageFigures:
    return StageFigures(
        section.integer("blocks", maximum=200),
        section.integer("most_blocks", maximum=200),
        section.integer("width"),
    )


def _count_or_none(section: Section, key: str) -> int | None:
    return None if section.lacks(key) else section.integer(key, minimum=0, maximum=1000)


def _read_operator(section: Section) -> OperatorFigures:
    return OperatorFigures(section.text("name"), amounts(section, "tensors"))


def _read_layer(section: Section) -> LayerFigures:
    operators = each(section, "operators", _read_operator)
    if not operators:
        raise section.refusal("operators", "expected one or more")
    return LayerFigures(
        name=section.text("name"),
        kind=section.text("kind"),
        stage=_count_or_none(section, "stage"),
        expand_ratio=_count_or_none(section, "expand_ratio"),
        **{
            key: section.integer(key)
            for key in (
                "kernel_size",
                "stride",
                "in_channels",
                "mid_channels",
                "out_channels",
                "in_size",
                "out_size",
            )
        },
        activation=section.text("activation"),
        se_channels=section.integer("se_channels", minimum=0),
        residual=section.flag("residual"),
        macs=amount(section, "macs"),
        weight_bytes=amount(section, "weight_bytes"),
        latency_ms=amounts(section, "latency_ms"),
        operators=operators,
        axes=section.integer("axes", default=2, maximum=2),
    )


def _read_check(section: Section) -> Check:
    quantity = section.text("quantity")
    read = difference if quantity == "accuracy_drop" else amount  # a file may beat torch
    return Check(
        quantity=quantity,
        measured=read(section, "measured"),
        predicted=amount_or_none(section, "predicted"),
        unit=section.text("unit"),
        is_met=section.flag("is_met"),
        exceeds_budget=section.flag("exceeds_budget", default=False),
        note=section.text("note", default=""),
        device=section.text("device", default=""),
    )


def _read_finalists(section: Section) -> MeasuredNetworks:
    device = section.text("device")

    def read(one: Section) -> Point:
        found = one.section("measured")
        return replace(
            _read_point(one),
            latency_ms={device: amount(found, "latency_ms")},
            is_within=one.flag("is_within"),
        )

    key, limits = "slowdowns", {"minimum": 0.0, "maximum": 1e6}
    speeds = section.numbers(key, **limits) if section.has(key) else (section.number("slowdown", **limits),)
    rounds = max(
        each(section, "networks", lambda one: one.integer("round") if one.has("round") else 1), default=1
    )
    told = f"timed on {section.text('address')}, at the speed of the table {device}"
    if section.content.get("stale"):
        when = "it was in each round" if rounds > 1 else "it is now"
        told = f"timed on {section.text('address')}, as fast as {when}, for the table {device} is stale"
    told += f": the device now takes {', '.join(f'{one:.2f}' for one in speeds)} times as long"
    if rounds > 1:
        told += f"; in {rounds} rounds, each picked by what those before had shown"
    return MeasuredNetworks(told, each(section, "networks", read))


def _read_contest(section: Section) -> MeasuredNetworks:
    def read(one: Section) -> Point:
        accuracy = one.section("measured").number("accuracy", minimum=0.0, maximum=1.0)
        return replace(
            _read_point(one),
            accuracy=accuracy,
            together=one.number("accuracy", minimum=0.0, maximum=1.0),
        )

    told = f"evaluated on {section.integer('images', maximum=10**9)} images of {section.text('split')}"
    return _chosen_by_images(section, told, each(section, "networks", read))


def _read_study(section: Section) -> MeasuredNetworks:
    def read(one: Section) -> Point:
        found = one.section("measured")
        return replace(
            _read_point(one),
            accuracy=found.number("accuracy", minimum=0.0, maximum=1.0),
            accuracy_half_width=amount_or_none(found, "accuracy_half_width"),
            latency_ms=amounts(found, "latency_ms"),
            is_within=one.flag("is_within"),
        )

    name, storage, images = (section.text(key) for key in ("name", "storage", "images"))
    told = f"of the study {name} in {storage}, measured on {images}"
    return _chosen_by_images(section, told, each(section, "trials", read))


def _chosen_by_images(section: Section, told: str, networks: tuple[Point, ...]) -> MeasuredNetworks:
    held = optional(section, "held_out", _read_held_out)
    if held is not None:
        told += (
            f"; the chosen one reaches {held.accuracy:.1%} ± {100 * held.half_width:.1f} points at 90 % on "
            f"{held.images} images that took no part in the choice"
        )
    return MeasuredNetworks(told, networks, held)


def _read_held_out(section: Section) -> HeldOut:
    accuracy, half_width = (
        section.number(key, minimum=0.0, maximum=1.0) for key in ("accuracy", "half_width")
    )
    return HeldOut(accuracy, half_width, section.integer("images", maximum=10**9))
