"""The command line `ofa-nas COMMAND …`: one module a command, imported only when it is chosen.

A command is `ofa_nas/cli/<name>.py` with `add_arguments(parser)` and `run(args)`, and one line in `COMMANDS`.
Exit status: 0 done, 1 refused, 2 misused, 128 and the signal interrupted.
"""

import argparse
import importlib
import logging
import os
import re
import sys
import traceback
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import groupby, pairwise
from keyword import iskeyword
from pathlib import Path
from typing import NoReturn, Protocol

import ofa_nas
from ofa_nas.cli.argument_groups import add_common_options
from ofa_nas.cli.plain import one_line
from ofa_nas.cli.signals import ended_in_order, status_of
from ofa_nas.cli.streams import drop_stdout, prepare_streams
from ofa_nas.cli.window_arguments import put_windows
from ofa_nas.errors import ConfigError, FileError, OfaNasError
from ofa_nas.files import check_writable
from ofa_nas.plugins import raising_plugin

DEBUG = "OFA_NAS_DEBUG"
ASKED = "_ARGCOMPLETE"  # set by a shell that wants a command line completed
LEAST = {
    "seed": 0,
    "threads": 1,
    "held_out": 1,
    "images": 1,
    "classes": 2,
    "seeds": 1,
    "evaluations": 1,
    "trials": 1,
    "image_size": 8,
    "checkpoint_minutes": 0.0,
    "workers": 1,
}
MOST = {"image_size": 4096, "threads": 4096}
_NO_MEMORY = re.compile(  # as torch, ONNX Runtime and the loader of their libraries say it
    "allocate memory|out of memory|failed to map segment", re.IGNORECASE
)
_NEGATIVE = re.compile(r"-[0-9.]+[A-Za-z%]+")  # of a unit; argparse knows negative numbers


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        group: What a user wants: find, measure, learn, adapt or inspect.
        name: As typed.
        help: One line, without a full stop.
    """

    group: str
    name: str
    help: str

    @property
    def sentence(self) -> str:
        """The help as a sentence."""
        return f"{self.help[:1].upper()}{self.help[1:]}."


class CommandModule(Protocol):
    """What the module of a command holds."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's own arguments; `--json`, `--json-file` and `--verbose` are there."""
        ...

    def run(self, args: argparse.Namespace) -> int | None:
        """Do it; heavy imports stand inside. Returns the exit status, None for 0."""
        ...


COMMANDS = (  # groups in this order: find, measure, learn, adapt, inspect
    Command("find", "run", "do everything that a run file says, from images to a checked ONNX file"),
    Command("find", "search", "find the best subnet within budgets, and export it as a checked ONNX file"),
    Command("find", "export", "export an architecture of your own choice as a checked ONNX file"),
    Command("find", "show", "show what an exported file says about itself"),
    Command("find", "verify", "check an exported file again: numerics, accuracy, latency, memory"),
    Command("find", "compare", "compare an exported file with hand-designed networks, or any ONNX file"),
    Command("find", "report", "show a search as one HTML page, and its front as a picture"),
    Command("measure", "profile", "measure the latency table of a device"),
    Command("measure", "verify-table", "time fresh networks to check whether a latency table still holds"),
    Command("measure", "devices", "list latency tables and rooflines; explain, calibrate or import them"),
    Command("learn", "bootstrap", "turn a pretrained network into a supernet, without training"),
    Command("learn", "import", "turn a once-for-all checkpoint into a supernet, or back"),
    Command("learn", "train", "train a supernet once, for every architecture of a space"),
    Command("learn", "pretrain", "train a supernet without labels, as a start for train"),
    Command("learn", "evaluate", "measure the accuracy of subnets or exported files"),
    Command("learn", "predictor", "evaluate many subnets and fit the accuracy predictor"),
    Command("adapt", "transfer", "train a subnet for another task in little memory, and export it"),
    Command("adapt", "prune", "prune channels or weights (lottery tickets) of a subnet, and export it"),
    Command("inspect", "memory", "show the memory that training a subnet takes, computed and measured"),
    Command("inspect", "data", "generate synthetic images for learning without labels"),
    Command("inspect", "spaces", "list the search spaces, or show the stages of one"),
    Command("inspect", "completion", "print the completion script for bash, zsh or fish"),
)


def module_name(name: str) -> str:
    """Name of a command's module: a dash is an underscore there, and one follows a keyword."""
    name = name.replace("-", "_")
    return f"{name}_" if iskeyword(name) else name


def load_command(name: str) -> CommandModule:
    """Import the module of a command."""
    module: CommandModule = importlib.import_module(f"ofa_nas.cli.{module_name(name)}")
    return module


def build_parser(names: Iterable[str]) -> argparse.ArgumentParser:
    """Build the parser; only the commands in `names` are imported and get their arguments."""
    parser = argparse.ArgumentParser(
        prog="ofa-nas",
        usage="ofa-nas [--version] COMMAND …",
        description=f"{ofa_nas.__doc__.splitlines()[0] if ofa_nas.__doc__ else ''}\n\n{_command_list()}",
        epilog="ofa-nas COMMAND --help shows the options of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"ofa-nas {ofa_nas.__version__}")
    subparsers = parser.add_subparsers(
        prog="ofa-nas", dest="command", metavar="COMMAND", required=True, help=argparse.SUPPRESS
    )
    wanted = set(names)
    for command in COMMANDS:
        subparser = subparsers.add_parser(command.name, description=command.sentence, allow_abbrev=False)
        if command.name in wanted:
            add_arguments(subparser, command)
    return parser


def add_arguments(parser: argparse.ArgumentParser, command: Command) -> None:
    """Add a command's own arguments and those that every command has."""
    load_command(command.name).add_arguments(parser)
    parser.usage = f"ofa-nas {command.name} {_usage(parser)}"
    for name, action in _subparsers(parser).items():
        action.usage = f"ofa-nas {command.name} {name} {_usage(action)}"
    add_common_options(parser)


def _usage(parser: argparse.ArgumentParser) -> str:
    """What a command or one of its actions must have, and `[OPTIONS]`."""
    words = []
    for action in parser._actions:  # noqa: SLF001 - argparse has no public list of its arguments
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            words.append(f"[{action.metavar}]")
            continue
        value = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
        if not action.option_strings:
            value += " …" if action.nargs in ("+", "*") else ""
            words.append(f"[{value}]" if action.nargs in ("?", "*") else value)
        elif action.required:
            words.append(f"{action.option_strings[0]} {value}")
    return " ".join([*words, "[OPTIONS]"])


def _command_list() -> str:
    lines = []
    for group, commands in groupby(COMMANDS, key=lambda command: command.group):
        for index, command in enumerate(commands):
            lines.append(f"  {'' if index else group:<10}{command.name:<14}{command.help}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; a misuse exits with 2 as argparse does."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    prepare_streams()
    if ASKED in os.environ:
        from ofa_nas.cli import completion

        completion.answer(build_parser(completion.asked_command()))
    try:
        with ended_in_order():
            return _run(arguments)
    except OfaNasError as error:
        return _fail(f"error: {error}", 1)
    except KeyboardInterrupt as error:
        return _fail("interrupted", status_of(error))
    except Exception as error:  # noqa: BLE001 - the one place where a bug of ours becomes a line for the user
        plugin = raising_plugin(error)
        if isinstance(error, OSError) and not plugin:
            drop_stdout()
            if isinstance(error, BrokenPipeError):  # the reader (head, less) left
                return 0
        return _fail(_explain(error, plugin), 1)


def _explain(error: Exception, plugin: str) -> str:
    """What ended a command: the machine, a plug-in of the user's own, the installation, or a bug of ours."""
    if isinstance(error, OSError) and not plugin:  # a disk is full, a folder may not be read
        return f"error: {error.filename or 'cannot write'}: {error.strerror or error}"
    if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
        return "error: not enough memory for this"
    if isinstance(error, ImportError) and not plugin and not (error.name or "").startswith("ofa_nas"):
        return f"error: a package that ofa-nas needs cannot be used: {error}; install it anew"
    if os.environ.get(DEBUG):
        traceback.print_exception(error)
    blamed = f"error: {plugin} raised" if plugin else "internal error:"
    return f"{blamed} {type(error).__name__}: {error} (run with {DEBUG}=1 for the traceback)"


def _run(arguments: list[str]) -> int:
    parser = build_parser(arguments[:1])
    _check_command(parser, arguments[0] if arguments else "")
    _check_words(arguments)
    args, rest = parser.parse_known_args(_with_negatives(arguments))
    if rest:
        _refuse_unknown(parser, arguments[0], rest)
    logging.basicConfig(
        level=logging.INFO if args.verbose else logging.WARNING, format="%(name)s: %(message)s"
    )
    logging.getLogger("PIL").setLevel(logging.CRITICAL)  # of a damaged image, an error of ours tells
    warnings.filterwarnings("ignore", "Image size .* could be decompression bomb")  # an error of ours tells
    _check_numbers(args)
    _check_place()
    put_windows(args)
    if args.json_file is not None:
        check_writable(args.json_file, option="--json-file")
    status = load_command(args.command).run(args)
    sys.stdout.flush()
    return status or 0


def _check_command(parser: argparse.ArgumentParser, word: str) -> None:
    """Refuse a first word that is no command, or none, with the nearest one."""
    names = [command.name for command in COMMANDS]
    if word in names or word.startswith("-"):
        return
    near = get_close_matches(word, names, n=1)
    told = f"there is no command {word[:60]!r}" if word else "COMMAND is missing"
    parser.error(f"{told}{f', maybe {near[0]}' if near else ''}; ofa-nas --help lists the commands")


def _refuse_unknown(parser: argparse.ArgumentParser, first: str, rest: Sequence[str]) -> NoReturn:
    """Refuse what no argument takes, with the usage of its command and the nearest option."""
    word = next((word for word in rest if word.startswith("-")), rest[0]).partition("=")[0]
    if first.startswith("-"):
        parser.error(f"{word[:60]!r} stands before COMMAND: options of a command go after its name")
    command = _subparsers(parser)[first]
    if not word.startswith("-"):
        command.error(f"unexpected argument {word[:60]!r}; {command.prog} --help lists the arguments")
    near = get_close_matches(word, _options(command), n=1)
    maybe = f", maybe {near[0]}" if near else ""
    command.error(f"there is no option {word[:60]!r}{maybe}; {command.prog} --help lists the options")


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:  # noqa: SLF001 - argparse has no public list of its arguments
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            found |= action.choices
    return found


def _options(parser: argparse.ArgumentParser) -> list[str]:
    """Options of a command and of its actions."""
    own = [name for action in parser._actions for name in action.option_strings]  # noqa: SLF001
    return own + [name for part in _subparsers(parser).values() for name in _options(part)]


def _check_words(arguments: list[str]) -> None:
    """Refuse empty words, which a shell gives for variables that are not set: `--device ""` would be none.

    Raises:
        ConfigError: Names the option.
    """
    for before, word in pairwise(("", *arguments)):
        option, equals, value = word.partition("=")
        if not word or (word.startswith("--") and equals and not value):
            named = next((name for name in (option, before) if name.startswith("--")), "an argument")
            raise ConfigError(f"{named}: is empty (is a variable not set?): give a value, or leave it out")


def _with_negatives(arguments: list[str]) -> list[str]:
    """Arguments in which `--latency -5ms` is `--latency=-5ms`: argparse takes `-5ms` for an option."""
    joined: list[str] = []
    for word in arguments:
        if _NEGATIVE.fullmatch(word) and joined and joined[-1].startswith("--") and "=" not in joined[-1]:
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _check_numbers(args: argparse.Namespace) -> None:
    """Refuse numbers that no command takes.

    Raises:
        ConfigError: Names the flag and the least or the most that it takes.
    """
    for name, least in LEAST.items():
        value = getattr(args, name, None)
        if value is not None and not value >= least:
            raise ConfigError(f"--{name.replace('_', '-')} {value}: expected {least} or more")
        if value is not None and value > MOST.get(name, value):
            raise ConfigError(f"--{name.replace('_', '-')} {value}: expected {MOST[name]} or less")


def _check_place() -> None:
    """Refuse a current folder that somebody removed: torch would end the process, and nothing can be written.

    Raises:
        FileError: It is gone.
    """
    try:
        Path.cwd()
    except OSError as error:
        raise FileError("the current folder is gone: somebody removed it; change into another") from error


def _fail(message: str, status: int) -> int:
    sys.stderr.write(f"{one_line(message)}\n")
    return status
