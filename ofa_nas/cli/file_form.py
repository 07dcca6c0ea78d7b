"""The flags that say what callers of an exported file see, shared by the commands that write one."""

import argparse
from typing import TYPE_CHECKING

from ofa_nas.cli.argument_groups import Arguments
from ofa_nas.precisions import FP32

if TYPE_CHECKING:
    from ofa_nas.export.interface import FileForm


def add_batch(parser: Arguments) -> None:
    """Add how many images the file takes at once."""
    parser.add_argument(
        "--batch",
        metavar="COUNT",
        help="batch size of the file: a number, or dynamic to leave it to the caller [default: 1]",
    )


def add_preprocess(parser: Arguments) -> None:
    """Add whether the file takes pixels."""
    parser.add_argument(
        "--preprocess",
        action="store_true",
        help="make the file take (batch, R, R, 3) uint8 RGB pixels and normalise them itself; its "
        "caller only resizes",
    )


def read_form(args: argparse.Namespace) -> "FileForm":
    """The form of the file that is written, of the flags that a command has; it imports no torch.

    Args:
        args: With `preprocess`, and maybe `precision` and `batch`.

    Raises:
        ConfigError: There is no such batch.
    """
    from ofa_nas.export.interface import FileForm

    given = vars(args)
    batch = given.get("batch")
    return FileForm(given.get("precision", FP32), 1 if batch is None else read_batch(batch), args.preprocess)


def read_batch(text: str) -> int | None:
    """Images at once; None where the caller of the file chooses.

    Raises:
        ConfigError: It is neither a number nor `dynamic`.
    """
    from ofa_nas.errors import ConfigError

    if text == "dynamic":
        return None
    if not text.isdecimal() or not text.isascii():
        raise ConfigError(f"--batch {text[:40]}: expected a number such as 1, or dynamic")
    return int(text[:9])
