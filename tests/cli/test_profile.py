"""`ofa-nas profile` and `ofa-nas devices` on this machine."""

import json
from pathlib import Path

import pytest

from ofa_nas.cli import main
from ofa_nas.latency.table import LatencyTable


@pytest.mark.slow
def test_profile_writes_a_table_and_devices_lists_it(
    own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", "--space", "tiny", "--resolution", "24", "--rounds", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["provenance"] == "measured"
    assert set(told["resolutions"]) == {"24"}
    assert told["resolutions"]["24"]["macs_linear"]["mape"] > 0
    path = Path(told["path"])
    assert path.is_relative_to(own_cache)
    error = LatencyTable.load(path).error
    assert error
    assert error.mape == pytest.approx(told["table"]["mape"])
    path.with_name("broken.json").write_text("{}", encoding="utf-8")
    assert main(["devices", "--json"]) == 0
    shown = capsys.readouterr()
    tables = {one["name"]: one for one in json.loads(shown.out)["tables"]}
    assert tables["host"]["provenance"] == "measured"
    assert tables["rpi4"]["provenance"] == "estimated"
    assert "broken.json" in shown.err
    assert main(["devices"]) == 0
    assert "measured" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--resolution", "99"], "resolution 99 is not in tiny"),
        (["--threads", "0"], "--threads"),
        (["--threads", "2", "--clock", "cpu"], "wall clock"),
        (["--device", "toaster"], "there is no 'toaster'"),
    ],
)
def test_refusals(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "--space", "tiny", *arguments]) == 1
    assert told in capsys.readouterr().err
