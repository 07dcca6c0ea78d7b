"""Find what ships: search spaces, latency tables, supernets.

In a wheel they lie in `ofa_nas/_data/<kind>`; in a checkout, editable or bare, beside the package.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ofa_nas.errors import FileError

_PACKAGE = Path(__file__).parent
DEFAULT_SPACE = DEFAULT_SUPERNET = "efficientnet_lite"  # where none is named


def asset_folder(kind: str) -> Path:
    """Folder of one kind of asset: `search_spaces`, `latency_tables`, their `rooflines`, or `supernets`."""
    inside = _PACKAGE / "_data" / kind
    return inside if inside.is_dir() else _PACKAGE.parent / kind


def asset_names(kind: str, *, suffix: str) -> list[str]:
    """Names of what ships of a kind, sorted."""
    return sorted(path.name.removesuffix(suffix) for path in asset_folder(kind).glob(f"*{suffix}"))


def find_asset(
    kind: str,
    name_or_path: str | Path,
    *,
    suffix: str,
    error: type[FileError],
    shipped: Sequence[str] | None = None,
) -> Path:
    """Path of an asset given by its shipped name or by a path of the user's own.

    Args:
        kind: As `asset_folder` takes it.
        name_or_path: What the user gave.
        suffix: Of the files.
        error: Class of the error.
        shipped: Names for the message, if they are not all those of files with the suffix.

    Raises:
        FileError: In the class `error`, when there is neither; the message lists the shipped names.
    """
    is_path = isinstance(name_or_path, Path) or name_or_path.endswith(suffix) or os.sep in name_or_path
    path = Path(name_or_path) if is_path else asset_folder(kind) / f"{name_or_path}{suffix}"
    with suppress(OSError):  # a name may be too long
        if path.is_file():
            return path
    if is_path and path.is_dir():
        raise error(f"{name_or_path!s:.200}: is a folder; give the path of a {suffix} file")
    names = ", ".join(asset_names(kind, suffix=suffix) if shipped is None else shipped) or "none"
    noun = kind.rsplit("/", 1)[-1].removesuffix("s").replace("_", " ")
    raise error(
        f"{name_or_path!s:.200}: no such {noun}; shipped: {names}; or give the path of a {suffix} file"
    )


OWN_CACHE = "set XDG_CACHE_HOME to a folder of your own"  # where one may not write into the cache folder


def cache_folder() -> Path:
    """The user's cache folder of this tool: `$XDG_CACHE_HOME/ofa-nas` or `~/.cache/ofa-nas`.

    Raises:
        FileError: There is no home, as of a user without a name in a container.
    """
    root = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return (Path(root) if root else Path.home() / ".cache") / "ofa-nas"
    except RuntimeError as error:
        raise FileError(f"the cache folder: there is no home to put it into; {OWN_CACHE}") from error
