"""The benchmark of balanced classes runs, and tells what each balance does."""

import json
from pathlib import Path

import pytest

from benchmarks.bench_balance import main
from tests.small_supernet import SmallSupernet


@pytest.mark.campaign
def test_a_short_run_prints_a_table_and_one_json_line(
    small: SmallSupernet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = ["--supernet", small.name, "--data", str(small.data), "--many", "30", "--few", "3"]
    main([*images, "--folder", str(tmp_path), "--balances", "0", "1", "--epochs", "10", "--seeds", "1"])
    *table, line = capsys.readouterr().out.splitlines()
    assert any("balanced accuracy" in row for row in table)
    plain, balanced = json.loads(line)["outcomes"]
    assert plain["rare"] < plain["common"]
    assert balanced["rare"] > plain["rare"]
    assert balanced["common"] < plain["common"]
