"""`ofa-nas report`, and `search --report`: a search as one HTML page, and its main plot as a picture."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofa_nas.cli.argument_groups import Arguments

if TYPE_CHECKING:
    from ofa_nas.report.document import SearchDocument

PAGE = ".html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `report`."""
    parser.add_argument(
        "path",
        type=Path,
        metavar="PATH",
        help="JSON file written by ofa-nas search --json-file, or a folder that holds it as search.json",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="page to write, an .html file [default: beside PATH; no page if only --plot is given]",
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="write the front as a picture, .svg or .png"
    )
    parser.add_argument("--dark", action="store_true", help="dark background for that picture")


def run(args: argparse.Namespace) -> None:
    """Read the document, then write page and picture."""
    from ofa_nas.cli.console import give_document, out
    from ofa_nas.errors import ConfigError
    from ofa_nas.report.reader import read_search

    page = _page(args)
    if args.dark and args.plot is None:
        raise ConfigError("--dark is for the picture: add --plot; the page follows its reader")
    check_report(page, option="--output" if args.output else "")
    _check_plot(args.plot)
    document = read_search(args.path)
    if page is not None:
        _write_page(page, document)
    if args.plot is not None:
        _write_plot(args.plot, document, is_dark=args.dark)
    written = {"page": page, "plot": args.plot}
    if give_document(args, {name: None if path is None else str(path) for name, path in written.items()}):
        return
    for name, path in written.items():
        if path is not None:
            out.print(f"{name:<10}{path}", markup=False)


def add_report(parser: Arguments) -> None:
    """Add `--report` to a command that makes the document of a search."""
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="also write the whole search as an HTML page, for any browser",
    )


def check_report(page: Path | None, *, option: str = "--report") -> None:
    """Refuse, before long work, a page that could not be written after it.

    Raises:
        FileError: There is something in its way.
        ConfigError: The package that it needs is not installed.
    """
    from ofa_nas.files import check_writable

    if page is not None:
        from ofa_nas.report.page import check_plotly

        check_writable(page, option=option, suffix=PAGE)
        check_plotly()


def give_report(args: argparse.Namespace, document: Mapping[str, Any]) -> None:
    """Write the page of a document to where `--report` says, if it does."""
    from ofa_nas.cli.console import out
    from ofa_nas.report.reader import read_document

    if args.report is None:
        return
    plain = json.loads(json.dumps(document))  # tuples become lists, as in a file
    _write_page(args.report, read_document(plain, args.report))
    if not args.json:
        out.print(f"report    {args.report}", markup=False)


def _page(args: argparse.Namespace) -> Path | None:
    """Where the page goes; None where a picture is all that is asked for."""
    if args.output is not None or args.plot is not None:
        output: Path | None = args.output
        return output
    path: Path = args.path
    return path / f"report{PAGE}" if path.is_dir() else path.with_suffix(PAGE)


def _check_plot(path: Path | None) -> None:
    from ofa_nas.errors import ConfigError
    from ofa_nas.files import check_writable

    if path is None:
        return
    if path.suffix not in (".svg", ".png"):
        raise ConfigError(f"--plot {path}: expected the name of an .svg or a .png file")
    check_writable(path, option="--plot")


def _write_page(path: Path, document: "SearchDocument") -> None:
    from ofa_nas.files import write_bytes
    from ofa_nas.report.page import report_page

    write_bytes(path, report_page(document).encode())


def _write_plot(path: Path, document: "SearchDocument", *, is_dark: bool) -> None:
    from ofa_nas.charts import DARK, LIGHT, draw_png, draw_svg
    from ofa_nas.files import write_bytes
    from ofa_nas.report.plots import picture_chart

    chart, theme = picture_chart(document), DARK if is_dark else LIGHT
    write_bytes(path, draw_png(chart, theme) if path.suffix == ".png" else draw_svg(chart, theme).encode())
