"""docs/cli.md from the parsers: `python -m ofa_nas.cli.reference > docs/cli.md`."""

import argparse
import sys
from itertools import groupby

from ofa_nas.cli import COMMANDS, Command, add_arguments

_HEAD = """\
# Commands

Written by `python -m ofa_nas.cli.reference > docs/cli.md`; a test compares.

Results go to stdout, everything else to stderr. Exit status: 0 done, 1 refused (one line that begins with
`error:` says where, what was found and what would be right), 2 misused, interrupted 128 and the signal (130
Ctrl-C, 143 SIGTERM, 129 a closed terminal). Commands that check something, such as `verify`, `verify-table`
and `search --export`, also end with 1 where it does not hold: then they give their JSON document as ever,
and a refusal gives none. `NO_COLOR=1` turns colours off; `OFA_NAS_DEBUG=1` shows the traceback of a bug.

Every command also takes these:

| argument | meaning |
|---|---|
| `--json` | print one JSON document to stdout, and show no progress |
| `--json-file FILE` | write that document to a file, with or without --json; a refusal leaves an older one |
| `--verbose` | log what the library does to stderr |
"""
_OF_EVERY_COMMAND = {"--json", "--json-file", "--verbose"}


def render() -> str:
    """The whole page."""
    parts = [_HEAD]
    for group, commands in groupby(COMMANDS, key=lambda command: command.group):
        parts.append(f"\n## {group.capitalize()}\n")
        parts += [_render_command(command) for command in commands]
    return "".join(parts)


def _render_command(command: Command) -> str:
    parser = argparse.ArgumentParser(add_help=False)
    add_arguments(parser, command)
    return _render_parser(parser, f"### `ofa-nas {command.name}`", command.sentence)


def _render_parser(parser: argparse.ArgumentParser, title: str, sentence: str) -> str:
    rows, parts = [], []
    for action in parser._actions:  # noqa: SLF001 - argparse has no public list of its arguments
        if isinstance(action, argparse._HelpAction) or _OF_EVERY_COMMAND & {*action.option_strings}:  # noqa: SLF001
            continue
        meaning = (action.help or "").replace("%%", "%").replace("|", "\\|")
        meaning += " (required)" if action.required and action.option_strings else ""
        rows.append(f"| `{_signature(action)}` | {meaning} |\n")
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            parts += [
                _render_parser(part, f"#{title[:-1]} {name}`", part.description or "")
                for name, part in action.choices.items()
            ]
    header = "\n| argument | meaning |\n|---|---|\n" if rows else ""
    return "".join([f"\n{title}\n\n{sentence}\n{header}", *rows, *parts])


def _signature(action: argparse.Action) -> str:
    value = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if action.choices:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    if not action.option_strings:
        return f"[{value}]" if action.nargs == "?" else value
    names = ", ".join(action.option_strings)
    return names if action.nargs == 0 else f"{names} {value}"


if __name__ == "__main__":
    sys.stdout.write(render())
