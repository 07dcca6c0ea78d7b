"""The benchmark of latency tables holds the table, MACs and layers timed alone against the same networks."""

import json
import sys

import pytest

from benchmarks.bench_latency import main


@pytest.mark.campaign
def test_a_short_run_judges_all_three_on_the_same_networks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = "bench_latency --space tiny --resolution 24 --rounds 2 --isolated"
    monkeypatch.setattr(sys, "argv", arguments.split())
    main()
    *told, line = capsys.readouterr().out.splitlines()
    document = json.loads(line)
    assert told[0].startswith(f"built in {document['seconds'] / 60:.1f} minutes, ")
    figures = document["figures"]["24"]
    for name, shown in (("table", "table"), ("macs_linear", "MACs linear"), ("isolated", "layers alone")):
        assert figures[name]["mape"] > 0.0
        (row,) = [row for row in told if f" {shown} " in row]
        assert f"{figures[name]['mape']:.2%}" in row
