"""The benchmark of signals runs and compares subnets that are as fast."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks.bench_signals import main
from tests.cli.test_signals import SPACE, write_recordings


@pytest.mark.campaign
@pytest.mark.slow
def test_a_short_run_compares_searched_with_random_subnets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_recordings(tmp_path / "data")
    space = tmp_path / "waves.toml"
    space.write_text(SPACE.replace("[16, 24]", "[24]"))
    few = ["--epochs", "0.5", "--subnets", "8", "--random", "2", "--windows", "80", "--rounds", "2"]
    arguments = [
        "bench_signals",
        "--data",
        f"{tmp_path / 'data'}@24/8",
        "--space",
        str(space),
        "--folder",
        str(tmp_path / "run"),
        *few,
    ]
    monkeypatch.setattr(sys, "argv", arguments)
    main()
    *told, line = capsys.readouterr().out.splitlines()
    assert any(row.startswith("largest subnet, all ") for row in told)
    rows = json.loads(line)["rows"]
    assert len(rows) == 4
    for row in rows:
        assert row["searched"]["predicted_ms"] <= row["budget_ms"]
        assert row["random"]
        for one in row["random"]:
            assert abs(one["predicted_ms"] / row["searched"]["predicted_ms"] - 1.0) < 0.05
