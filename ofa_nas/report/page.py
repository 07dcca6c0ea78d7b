"""A report as one HTML page: everything in it, nothing fetched, no script but the two that belong to it."""

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from importlib.util import find_spec

from ofa_nas.errors import ConfigError
from ofa_nas.pages.html import Markup, tag
from ofa_nas.pages.page import whole_page
from ofa_nas.report.document import SearchDocument
from ofa_nas.report.evidence import evidence
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
    own = files("ofa_nas.report").joinpath("page.js").read_text(encoding="utf-8")
    policy = (
        "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
        f"script-src {_digest(library)} {_digest(own)}; base-uri 'none'; form-action 'none'"
    )
    allowed = Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">')
    scripts = Markup(f"<script>{library}</script><script>{own}</script>")
    return whole_page(
        f"{title_of(document)}: ofa-nas",
        _header(document),
        tag("main", *_sections(document)),
        _footer(),
        scripts,
        head=allowed,
    )


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


def _digest(script: str) -> str:
    """A source of the policy: this very script, and no other."""
    return f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"
