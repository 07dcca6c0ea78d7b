"""Plug-ins by module name: `kind/name` is `ofa_nas/kind/name.py`, and a dotted path is anybody's module."""

import importlib
import os
import pkgutil
import re
import sys
import traceback
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from ofa_nas.errors import ConfigError

TRUSTED = "OFA_NAS_PLUGINS"
_NAME = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)
_own_packages: set[str] = set()  # of the dotted paths that were imported, for `raising_plugin`


def plugin_names(kind: str) -> list[str]:
    """Names of the plug-ins of a kind such as `space.blocks`, sorted, without importing them."""
    package = importlib.import_module(f"ofa_nas.{kind}")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


@lru_cache(maxsize=256)
def load_plugin(kind: str, name: str) -> Any:
    """Import the plug-in `name` of a kind, or the module that a dotted path names.

    Raises:
        ConfigError: There is no such plug-in, and the message lists the names there are; or it is no Python,
            or imports what is not there.
    """
    if _DOTTED.fullmatch(name):
        path = name
        _own_packages.add(name.split(".", maxsplit=1)[0])
    elif _NAME.fullmatch(name) and name in plugin_names(kind):
        path = f"ofa_nas.{kind}.{name}"
    else:
        raise _unknown(kind, name, plugin_names(kind))
    try:
        return importlib.import_module(path)
    except (ImportError, SyntaxError) as error:
        raise ConfigError(f"{kind}: cannot import {path!r}: {error}") from error


def _unknown(kind: str, name: str, names: Sequence[str]) -> ConfigError:
    return ConfigError(
        f"{kind}: there is no {name[:60]!r}; there are {', '.join(names)}, "
        "or give the dotted path of a module of your own"
    )


def load_dashed(kind: str, name: str, offers: Sequence[str], *, what: str) -> Any:
    """As `load_complete`, of a kind whose names have dashes on the command line; underscores will do.

    Raises:
        ConfigError: There is no such plug-in, or it lacks something.
    """
    is_dotted = _DOTTED.fullmatch(name) is not None
    own = name if is_dotted else name.replace("-", "_")
    names = plugin_names(kind)
    if not is_dotted and own not in names:
        raise _unknown(kind, name, [one.replace("_", "-") for one in names])
    return load_complete(kind, own, offers, what=what)


def load_complete(kind: str, name: str, offers: Sequence[str], *, what: str) -> Any:
    """A plug-in that has all it is to offer.

    Args:
        kind: As `load_plugin` takes it.
        name: Likewise.
        offers: Names that the module has to have.
        what: It is, for the message.

    Raises:
        ConfigError: There is no such plug-in, or it lacks something.
    """
    module = load_plugin(kind, name)
    missing = [attribute for attribute in offers if not hasattr(module, attribute)]
    if missing:
        raise ConfigError(f"{name}: not {what}: the module lacks {', '.join(missing)}")
    return module


def raising_plugin(error: BaseException) -> str:
    """The module of a plug-in of the user's own, or of its package, that raised an error; empty if none did.

    Whatever a plug-in calls of other libraries counts as its own, what it calls of ofa-nas does not.
    """
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    modules = [str(frame.f_globals.get("__name__", "")) for frame in frames]
    ours, own = __name__.split(".", maxsplit=1)[0], _own_packages - sys.stdlib_module_names
    packages = {module: module.split(".", maxsplit=1)[0] for module in modules}
    known = [module for module in modules if packages[module] in {ours, *own}]
    return known[-1] if known and packages[known[-1]] != ours else ""


def is_trusted(name: str) -> bool:
    """Whether a dotted path that a file names is in a package that the user trusts (`$OFA_NAS_PLUGINS`).

    To import a module is to run it: a name on the command line is the user's own, one in a file may not be.
    """
    trusted = os.environ.get(TRUSTED, "").replace(",", " ").split()
    return _DOTTED.fullmatch(name) is not None and name.split(".", maxsplit=1)[0] in trusted


def check_trusted(name: str) -> None:
    """Refuse a dotted path that a file names, unless the user trusts it; other names pass.

    Raises:
        ConfigError: Says which variable would name its package.
    """
    if _DOTTED.fullmatch(name) and not is_trusted(name):
        raise ConfigError(
            f"{name[:80]}: does not ship, and as a module it is not trusted: "
            f"${TRUSTED} does not name its package"
        )


def trusted_help() -> str:
    """What a file may name beside the plug-ins that ship, for messages."""
    return f"or the dotted path of a module in a package that {TRUSTED} names"
