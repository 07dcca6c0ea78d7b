"""The benchmark of transfer runs, goes on where it stood, and says what it did."""

import json
from pathlib import Path

import pytest

from benchmarks.bench_transfer import main
from tests.small_supernet import SmallSupernet


@pytest.mark.campaign
def test_a_short_run_prints_a_table_and_one_json_line(
    small: SmallSupernet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = ["--supernet", small.name, "--data", str(small.data), "--folder", str(tmp_path), "--threads", "1"]
    methods = ["--methods", "last", "lite+bias", "--images", "200", "--epochs", "4", "--batch-size", "8"]
    documents = []
    for _ in range(2):
        main([*short, *methods, "--no-memory"])
        *table, line = capsys.readouterr().out.splitlines()
        assert any("lite+bias" in row for row in table)
        documents.append(json.loads(line))
    first, again = (document["outcomes"] for document in documents)
    assert [one["correct"] for one in first] == [one["correct"] for one in again]
    last, lite = first
    assert lite["correct"] > last["correct"], "more is learnt where more is trained"
