"""Run commands in this process and look at what they printed."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from ofa_nas.cli import main
from tests.json_schemas import check_document


@dataclass(frozen=True, slots=True)
class Printed:
    """What a command left: exit status, stdout, stderr."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The JSON document on stdout."""
        document: dict[str, Any] = json.loads(self.out)
        return document

    @property
    def text(self) -> str:
        """Stdout, all white space as single spaces: how lines wrap does not matter."""
        return " ".join(self.out.split())


Command = Callable[..., Printed]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `ofa-nas` with some arguments."""

    def run(*arguments: object) -> Printed:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        if "--json" in arguments and captured.out:
            check_document([str(argument) for argument in arguments], json.loads(captured.out))
        return Printed(status, captured.out, captured.err)

    return run


@pytest.fixture
def refused(command: Command) -> Callable[..., str]:
    """Runs a command that must be refused; gives its one line."""

    def run(*arguments: object) -> str:
        printed = command(*arguments)
        assert (printed.status, printed.out) == (1, "")
        assert printed.err.startswith("error: ")
        assert printed.err.count("\n") == 1
        return printed.err

    return run
