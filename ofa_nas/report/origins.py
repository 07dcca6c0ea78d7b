"""Read where the figures of a search come from: its tables, its weights, what made the document."""

from ofa_nas.report.document import TableFigures
from ofa_nas.report.fields import amount, architecture_text, each, optional
from ofa_nas.section import Section
from ofa_nas.space.operators import size_unit


def read_table(section: Section) -> TableFigures:
    """What the document tells of a latency table."""
    device = section.section("device")
    verified = None if section.lacks("verified") else section.section("verified")
    return TableFigures(
        name=section.text("name"),
        provenance=section.text("provenance"),
        device=device.text("name"),
        cpu=device.text("cpu"),
        runtime=device.text("runtime"),
        error=_errors(section),
        judged_on=section.text("judged_on", default="networks"),
        holdouts=each(
            section,
            "holdouts",
            lambda one: (architecture_text(one), amount(one, "measured_ms"), amount(one, "predicted_ms")),
        ),
        doubts=(*verified.texts("faults"), *verified.texts("stale")) if verified else (),
        verified_on=verified.text("made_on") if verified else "",
        about=tuple(_about(section, device)),
    )


def _errors(section: Section) -> dict[str, float]:
    if section.lacks("error"):
        return {}
    found = section.section("error")
    return {
        key: found.number(key, minimum=-1e6, maximum=1e6)
        for key, value in found.content.items()
        if value is not None
    }


def _about(section: Section, device: Section) -> list[tuple[str, str]]:
    threads = "not stated" if device.lacks("threads") else str(device.integer("threads"))
    lines = [("precision", device.text("precision")), ("threads", threads)]
    lines += [("source", text) for text in section.texts("sources")]
    lines += [("note", text) for text in section.texts("notes")]
    if not section.lacks("licence"):
        lines.append(("licence", section.text("licence")))
    made_by = section.content.get("made_by")
    if isinstance(made_by, dict):
        told = {"command": "made by", "made_on": "made on"}
        texts = {what: made_by.get(key) for key, what in told.items()}
        lines += [(what, text) for what, text in texts.items() if isinstance(text, str) and text]
    return lines


def read_facts(root: Section, *, is_exact: bool) -> list[tuple[str, str]]:
    """Weights, search and maker, as lines: what, and the text; `is_exact` of every answer."""
    facts: list[tuple[str, str]] = []
    weights = optional(root, "weights", lambda one: one)
    if weights is not None:
        facts.append(("trained on", f"{weights.text('data')}, {weights.integer('classes')} classes"))
        digest = weights.text("sha256", default="")
        facts.append(("weights", f"SHA-256 {digest}" if digest else "did not come with the supernet"))
        licence = weights.text("licence", default="")
        facts += [("licence", licence)] if licence else []
    if not root.lacks("precision"):
        facts.append(("precision", root.text("precision")))
    unit = size_unit(optional(root, "network", _axes) or 2)
    facts += optional(root, "search", lambda one: _tell_search(one, unit, is_exact=is_exact)) or []
    return facts + (optional(root, "made_by", _tell_maker) or [])


def _axes(network: Section) -> int:
    layers = each(network, "layers", lambda layer: layer.integer("axes", default=2, maximum=2))
    return layers[0] if layers else 2


def _tell_search(section: Section, unit: str, *, is_exact: bool) -> list[tuple[str, str]]:
    scored = section.integer("evaluations", minimum=0, maximum=2**62)
    seconds = amount(section, "cpu_seconds")
    what = "all subnets" if is_exact else f"{scored:,} subnets scored"
    sizes = ", ".join(map(str, section.integers("resolutions")))
    return [
        (
            "searched",
            f"by {section.text('method')}: {what} in {seconds:.2g} s of one core",
        ),
        ("resolutions", f"{sizes} {unit}"),
    ]


def _tell_maker(section: Section) -> list[tuple[str, str]]:
    versions = section.section("libraries")
    libraries = ", ".join(f"{name} {versions.text(name)}" for name in versions.content)
    own = " ".join(
        part
        for part in (
            section.text("version"),
            f"commit {section.text('commit')}" if section.text("commit") else "",
        )
        if part
    )
    return [
        ("made on", section.text("made_on")),
        ("ofa-nas", own or "not stated"),
        ("libraries", libraries),
        ("machine", section.text("machine")),
        ("seed", str(section.integer("seed", minimum=0, maximum=2**63))),
    ]
