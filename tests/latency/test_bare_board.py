"""A bundle is measured where nothing is installed but numpy and onnxruntime."""

import json
import os
import subprocess
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from ofa_nas.devices import MeasuringProtocol
from ofa_nas.latency.bundle import collect, write_bundle
from ofa_nas.space.search_space import SearchSpace

PACKAGES = ("numpy", "onnxruntime")
SHORT = MeasuringProtocol(
    rounds=2, max_rounds=2, visit_ms=0.0, retries=0, profile_runs=5, profile_sittings=1, warm_up_windows=1
)
LOOK = """\
import importlib.util, json, sys
from importlib.metadata import distributions
found = [name for name in json.loads(sys.argv[1]) if importlib.util.find_spec(name)]
print(json.dumps([found, sorted({one.name for one in distributions()})]))
"""


def make_python(folder: Path) -> Path:
    """An interpreter with an environment of its own; the two packages are links to those of this one."""
    venv.create(folder, symlinks=True, with_pip=False)
    (site,) = folder.glob("lib/python3*/site-packages")
    for package in PACKAGES:
        spec = find_spec(package)
        assert spec
        assert spec.origin
        home = Path(spec.origin).parent.parent
        for path in (home / package, home / f"{package}.libs", *home.glob(f"{package}-*.dist-info")):
            if path.exists():
                (site / path.name).symlink_to(path)
    return folder / "bin" / "python"


def run(python: Path, folder: Path, *arguments: str) -> str:
    """What a program there prints; nothing of this process's environment points elsewhere."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [python, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="an environment of links")
def test_numpy_and_onnxruntime_are_all_that_a_board_needs(tiny: SearchSpace, tmp_path: Path) -> None:
    python, board, bundle = make_python(tmp_path / "python"), tmp_path / "board", tmp_path / "board.zip"
    strangers = ["torch", "ofa_nas", "onnx", "rich", "safetensors", "pytest"]
    found, installed = json.loads(run(python, tmp_path, "-c", LOOK, json.dumps([*strangers, *PACKAGES])))
    assert (found, installed) == (list(PACKAGES), list(PACKAGES))
    list(write_bundle(bundle, tiny, protocol=SHORT, resolutions=[24]))
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(board)
    assert "done: take results.jsonl back" in run(python, board, "agent.py")
    table = collect(board / "results.jsonl", bundle, name="bare").table
    assert table.provenance == "measured"
    assert table.measured
    assert table.measured.resolutions == (24,)
    for holdout in table.measured.holdouts:
        arch = tiny.parse(holdout.architecture)
        assert table.latency_ms(tiny, arch) == pytest.approx(holdout.predicted_ms, abs=1e-5)
