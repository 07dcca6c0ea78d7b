"""`ofa-nas completion`: what a shell needs to complete command lines; and what it is then answered."""

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ofa_nas.training.phase import Purpose

SHELLS = {
    "bash": 'eval "$(ofa-nas completion bash)"  # in ~/.bashrc',
    "zsh": 'eval "$(ofa-nas completion zsh)"  # in ~/.zshrc, behind compinit',
    "fish": "ofa-nas completion fish | source  # in ~/.config/fish/config.fish",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `completion`."""
    parser.add_argument("shell", choices=tuple(SHELLS), help="your shell")


def run(args: argparse.Namespace) -> None:
    """Print the shell's code."""
    from argcomplete.shell_integration import shellcode

    from ofa_nas.cli.console import give_document

    code = shellcode(["ofa-nas"], shell=args.shell)
    if not give_document(args, {"shell": args.shell, "code": code, "use": SHELLS[args.shell]}):
        sys.stdout.write(f"# {SHELLS[args.shell]}\n{code}\n")


def answer(parser: argparse.ArgumentParser) -> None:
    """Tell the shell that asked what may stand at its cursor, and end the process."""
    from argcomplete.finders import CompletionFinder

    for part in _parsers(parser):
        for action in part._actions:  # noqa: SLF001 - argparse has no public list of its arguments
            completer = _completer(part.prog, action)
            if completer is not None:
                action.completer = completer  # type: ignore[attr-defined]  # where argcomplete looks for one
    CompletionFinder()(parser, always_complete_options="long")


def asked_command() -> list[str]:
    """The command on the line that the shell asks about; empty while it is being typed."""
    line = os.environ.get("COMP_LINE", "")[: int(os.environ.get("COMP_POINT", "0") or 0)]
    words = line.split()
    return words[1:2] if len(words) > 2 or line.endswith(" ") else []


def _parsers(parser: argparse.ArgumentParser) -> Iterable[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for part in action.choices.values():
                yield from _parsers(part)


@dataclass(frozen=True, slots=True)
class _Names:
    """Completes names, and files beside them.

    Attributes:
        find: The names that there are.
        suffixes: Of the files; empty for names alone.
    """

    find: Callable[[], Iterable[str]]
    suffixes: tuple[str, ...] = ()

    def __call__(self, prefix: str, **_: object) -> list[str]:
        """Everything that begins so."""
        names = [name for name in self.find() if name.startswith(prefix)]
        if not self.suffixes:
            return names
        from argcomplete.completers import FilesCompleter

        return [*names, *FilesCompleter(self.suffixes)(prefix)]


def _completer(prog: str, action: argparse.Action) -> _Names | None:
    """What completes an argument; None for argparse's choices, else files."""
    command, name = prog.split()[1:2], action.dest
    if name == "supernet" or (name == "start" and command != ["run"]):
        return _Names(_supernets if name == "supernet" else _starts, ("safetensors",))
    if name == "space" or (name == "name" and command == ["spaces"]):
        return _Names(_spaces, ("toml",))
    if name == "devices" or (name == "device" and command == ["export"]):
        return _Names(_devices, ("json",)) if "--device" in action.option_strings else _Names(_addresses)
    if name == "file":
        suffix = {"run": "toml", "data": "npz"}.get(" ".join(command), "onnx")
        return _Names(list, (suffix,))
    if name == "recipe":
        is_train = command != ["pretrain"]
        return _Names(lambda: _recipes("train" if is_train else "pretrain"), ("toml",))
    simple: dict[str, _Names] = {
        "device": _Names(_addresses),
        "table": _Names(_tables, ("json",)),
        "arch": _Names(lambda: ("smallest", "middle", "largest")),
        "archs": _Names(lambda: ("smallest", "middle", "largest")),
        "kind": _Names(lambda: _plugins("predictors")),
        "method": _Names(lambda: _plugins("search.methods")),
        "loss": _Names(_losses),
        "generator": _Names(_generators),
    }
    return simple.get(name)


def _supernets() -> list[str]:
    from ofa_nas.supernet_card import supernet_names

    return supernet_names()


def _starts() -> list[str]:
    return [*_supernets(), *_plugins("supernet.pretrained")]


def _spaces() -> list[str]:
    from ofa_nas.assets import asset_names

    return asset_names("search_spaces", suffix=".toml")


def _recipes(purpose: "Purpose" = "train") -> list[str]:
    from ofa_nas.training.recipe import recipe_names

    return recipe_names(purpose)


def _plugins(kind: str) -> list[str]:
    from ofa_nas.plugins import plugin_names

    return plugin_names(kind)


def _addresses() -> list[str]:
    return ["host", "ssh://"]


def _tables() -> list[str]:
    from ofa_nas.latency.shelf import Shelf, shipped_names

    return [*shipped_names(), *Shelf.measured().names]


def _devices() -> list[str]:
    return [*_addresses(), *_tables()]


def _generators() -> list[str]:
    return [name.replace("_", "-") for name in _plugins("data.generators")]


def _losses() -> list[str]:
    return [name.replace("_", "-") for name in _plugins("training.losses")]
