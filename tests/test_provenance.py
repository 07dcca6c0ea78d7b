"""Files tell what made them."""

import json
import platform
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

import ofa_nas
from ofa_nas.provenance import processor_name, record_provenance

ROOT = Path(ofa_nas.__file__).parents[1]


def test_provenance_describes_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/ofa-nas", "search", "--latency", "30 ms"])
    found = record_provenance(seed=7)
    assert found.command == "ofa-nas search --latency '30 ms'"
    assert found.seed == 7
    assert found.libraries["numpy"] == version("numpy")
    assert set(found.libraries) == {"numpy", "torch", "onnx", "onnxruntime"}
    assert found.machine.startswith(f"{platform.system()} {platform.machine()}, ")
    assert processor_name() in found.machine
    age = datetime.now(UTC) - datetime.fromisoformat(found.made_on)
    assert timedelta(seconds=-1) < age < timedelta(minutes=5)


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["/checkout/ofa_nas/__main__.py", "train", "--epochs", "2"], "ofa-nas train --epochs 2"),
        (["/checkout/benchmarks/bench_effort.py", "--seeds", "2"], "bench_effort.py --seeds 2"),
        (["/somewhere/pytest/__main__.py", "-q"], "pytest -q"),
        (["/somewhere/ipykernel_launcher.py", "-f", "/home/me/kernel-5.json"], ""),
        (["-c"], ""),
        ([""], ""),
        ([], ""),
    ],
)
def test_the_command_is_the_one_that_ran(
    monkeypatch: pytest.MonkeyPatch, argv: list[str], command: str
) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    assert record_provenance(seed=0).command == command


@pytest.mark.parametrize("seed", [0, np.int64(3), np.uint8(3)])
def test_provenance_is_plain_json(seed: int) -> None:
    document = record_provenance(seed=seed).to_json()
    assert json.loads(json.dumps(document)) == document


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="an installed package has no commit")
def test_the_commit_is_that_of_the_checkout() -> None:
    head = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    commit = record_provenance(seed=0).commit
    assert len(commit) >= 12
    assert head.stdout.startswith(commit)


def test_provenance_imports_no_library_that_it_names() -> None:
    code = "import sys, ofa_nas.provenance as p; p.record_provenance(seed=0); sys.exit('onnx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
