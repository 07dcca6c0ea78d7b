"""The benchmark of pruning trains, times all files in one session, and goes on where it stood."""

import json
from pathlib import Path

import pytest

from benchmarks.bench_pruning import main
from tests.small_supernet import SmallSupernet


@pytest.mark.slow
def test_a_short_run_prints_a_table_and_one_json_line(
    small: SmallSupernet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = [
        "--supernet",
        small.name,
        "--data",
        str(small.data),
        "--folder",
        str(tmp_path),
        "--epochs",
        "0.5",
    ]
    short += ["--resolution", "0", "--batch-size", "40", "--held-out", "100", "--rounds", "3"]
    main([*short, "--train-only"])
    assert capsys.readouterr().out == ""
    main(short)
    *table, line = capsys.readouterr().out.splitlines()
    assert any("zeros" in row for row in table)
    rows = json.loads(line)["rows"]
    by_name = {row["network"]: row for row in rows}
    pruned, dense, zeros = by_name["pruned"], by_name["dense"], by_name["dense, 80% zeros"]
    assert pruned["images"] == 200
    assert pruned["cpu_seconds"] > 0.0
    assert pruned["macs"] < dense["macs"]
    assert pruned["file_bytes"] < dense["file_bytes"]
    assert zeros["file_bytes"] == dense["file_bytes"]
    assert zeros["gzip_bytes"] < 0.6 * dense["gzip_bytes"]
    assert zeros["accuracy"] is None
    searched = [row for row in rows if row["network"] == "searched"]
    assert searched
    assert all(row["cpu_seconds"] == 0.0 and row["latency_ms"] > 0.0 for row in searched)
