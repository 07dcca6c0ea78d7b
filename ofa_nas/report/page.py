"""A report as one HTML page: everything in it, nothing fetched, no script but the two that belong to it."""

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from importlib.util import find_spec

from ofa_nas.charts import DARK, LIGHT, Theme
from ofa_nas.errors import ConfigError
from ofa_nas.report.document import SearchDocument
from ofa_nas.report.evidence import evidence
from ofa_nas.report.html import Markup, markup, tag
from ofa_nas.report.sections import course, front, network, origins, overview, title_of

PLOTLY = "plotly"


def check_plotly() -> None:
    """Refuse, before long work, a report that could not be made after it.

    Raises:
        ConfigError: Plotly is not installed.
    """
    if find_spec(PLOTLY) is None:
        raise ConfigError("a report needs the package plotly: pip install 'ofa-nas[report]'")


def report_page(document: SearchDocument) -> str:
    """The page, as text.

    Raises:
        ConfigError: Plotly is not installed.
    """
    check_plotly()
    library = _plotly()
    own = _asset("page.js")
    policy = (
        "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
        f"script-src {_digest(library)} {_digest(own)}; base-uri 'none'; form-action 'none'"
    )
    style = Markup(f"<style>{_variables()}{_asset('page.css')}</style>")
    head = markup(
        Markup('<meta charset="utf-8">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta name="color-scheme" content="light dark">'),
        tag("title", f"{title_of(document)}: ofa-nas"),
        style,
    )
    scripts = Markup(f"<script>{library}</script><script>{own}</script>")
    body = tag("body", _header(document), tag("main", *_sections(document)), _footer(), scripts)
    return f'<!doctype html>\n<html lang="en">{tag("head", head)}{body}</html>\n'


def _header(document: SearchDocument) -> Markup:
    names = [("chosen", "chosen"), ("front", "front"), ("measured", "measured")]
    if document.main.network is not None:
        names += [("network", "network"), ("course", "time and memory")]
    links = [
        tag("a", title, attributes={"href": f"#{name}"}) for name, title in [*names, ("origins", "origins")]
    ]
    toggle = Markup('<button type="button" id="theme">dark</button>')
    return tag(
        "header",
        tag("p", "ofa-nas search", attributes={"class": "kicker"}),
        tag("h1", title_of(document)),
        tag("nav", *links, attributes={"aria-label": "sections"}),
        toggle,
    )


def _sections(document: SearchDocument) -> list[Markup]:
    parts = [overview(document), front(document), evidence(document)]
    found = document.main.network
    if found is not None:
        parts += [network(document, found), course(document, found)]
    return [*parts, origins(document)]


def _footer() -> Markup:
    return tag(
        "footer",
        tag(
            "p",
            "Predicted figures are predictions; what was measured is told as such. This page loads nothing.",
        ),
        tag("p", attributes={"id": "notice", "role": "status"}),
    )


def _plotly() -> str:
    """The script of the library, which holds its licence."""
    from plotly.offline import get_plotlyjs

    script: str = get_plotlyjs()
    return script


def _asset(name: str) -> str:
    return files("ofa_nas.report").joinpath(name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    """A source of the policy: this very script, and no other."""
    return f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"


def _variables() -> str:
    """Colours of both themes as CSS variables; the system chooses until the button does."""
    light, dark = _colours(LIGHT), _colours(DARK)
    return (
        f":root{{color-scheme:light;{light}}}"
        f"@media(prefers-color-scheme:dark){{:root:not([data-theme=light]){{color-scheme:dark;{dark}}}}}"
        f":root[data-theme=dark]{{color-scheme:dark;{dark}}}"
    )


def _colours(theme: Theme) -> str:
    named = {name: getattr(theme, name) for name in ("paper", "ink", "faint", "grid", "accent", "limit")}
    named |= {f"series-{index}": colour for index, colour in enumerate(theme.series)}
    named |= {f"scale-{index}": colour for index, colour in enumerate(theme.scale)}
    return "".join(f"--{name}:{colour};" for name, colour in named.items())
