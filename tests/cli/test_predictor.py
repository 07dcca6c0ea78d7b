"""`ofa-nas predictor`."""

from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import Command
from tests.small_supernet import SUBNETS, SmallSupernet


def test_collecting_goes_on_where_it_stopped_and_fitting_follows(
    command: Command, small: SmallSupernet, tmp_path: Path
) -> None:
    files = small.copy_to(tmp_path / "run")
    lines = files.samples.read_bytes().splitlines(keepends=True)
    files.samples.write_bytes(b"".join(lines[:-3]))
    files.predictor.unlink()
    settings = ["--data", small.data, "--count", SUBNETS, "--images", "60", "--threads", "1"]
    printed = command("predictor", "collect", "--supernet", files.weights, *settings, "--json")
    assert (printed.status, printed.err) == (0, "")
    assert printed.document == {"supernet": str(files.weights), "collected": 3, "standing": None}
    assert sorted(files.samples.read_bytes().splitlines(keepends=True)) == sorted(lines)

    printed = command("predictor", "fit", "--supernet", files.weights, "--json")
    assert (printed.status, printed.err) == (0, "")
    assert printed.document["predictor"] == str(files.predictor)
    report = printed.document["report"]
    assert report.keys() == {
        "kind",
        "samples",
        "tau",
        "rmse",
        "half_width",
        "noise",
        "reason",
        "kinds",
    }
    assert report["samples"] == SUBNETS
    assert [one["kind"] for one in report["kinds"]] == ["additive", "additive_gp", "macs"]
    assert 0.0 < report["noise"] < 0.2
    assert files.predictor.is_file()


def test_people_are_told_how_good_the_predictor_is(
    command: Command, small: SmallSupernet, tmp_path: Path
) -> None:
    files = small.copy_to(tmp_path / "run")
    printed = command("predictor", "fit", "--supernet", files.weights)
    assert f"additive predictor of {SUBNETS} subnets" in printed.text
    assert "Kendall tau" in printed.text
    assert str(files.predictor) in printed.text


def test_wrong_inputs_are_one_line(refused: Callable[..., str], small: SmallSupernet, tmp_path: Path) -> None:
    files = small.copy_to(tmp_path / "run")
    before = files.predictor.read_bytes()
    assert "needs --data" in refused("predictor", "collect", "--supernet", files.weights)
    assert "there is no 'oracle'" in refused(
        "predictor", "fit", "--supernet", files.weights, "--kind", "oracle"
    )
    assert "no_such: no such supernet" in refused("predictor", "fit", "--supernet", "no_such")
    collect = ("predictor", "collect", "--supernet", files.weights, "--data", small.data, "--threads", "1")
    assert "--count 0: expected 1 or more" in refused(*collect, "--count", "0")
    assert "--images -5: expected 1 or more" in refused(*collect, "--images", "-5")
    files.samples.write_text("not JSON\n", encoding="utf-8")
    assert "supernet.samples.jsonl:1: not a JSON line" in refused(
        "predictor", "fit", "--supernet", files.weights
    )
    assert files.predictor.read_bytes() == before
