"""What arguments are added to: a parser, or a titled group of its help; and those of every command."""

import argparse
from pathlib import Path

Arguments = argparse.ArgumentParser | argparse._ArgumentGroup  # noqa: SLF001 - argparse names its groups so


def add_common_options(parser: argparse.ArgumentParser, *, suppress: bool = False) -> None:
    """Add the options that every command has.

    Args:
        parser: Of a command, or of one of its actions.
        suppress: Leave out defaults: an action's would overwrite what was given before its name.
    """
    group = parser.add_argument_group("options of every command")
    no, none = (argparse.SUPPRESS, argparse.SUPPRESS) if suppress else (False, None)
    group.add_argument("--json", action="store_true", default=no, help="print one JSON document to stdout")
    group.add_argument(
        "--json-file",
        type=Path,
        metavar="FILE",
        default=none,
        help="write that JSON document to a file, with or without --json",
    )
    group.add_argument("--verbose", action="store_true", default=no, help="log library activity to stderr")
