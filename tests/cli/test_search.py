"""`ofa-nas search`, from the flags to the checked file."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ofa_nas
from ofa_nas.assets import find_asset
from ofa_nas.errors import BudgetError, OfaNasError, TableError
from ofa_nas.export.card import ModelCard, read_model
from ofa_nas.export.interface import FileForm
from ofa_nas.figures import format_amount, format_share
from ofa_nas.latency.table import LatencyTable
from ofa_nas.pipeline.delivery.file_verification import Delivery
from ofa_nas.pipeline.searching.finalists import Site
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet_card import SupernetCard
from tests.cli.conftest import Command
from tests.small_supernet import SmallSupernet, exact_table

PREDICTED = {
    "accuracy",
    "accuracy_half_width",
    "latency_ms",
    "peak_activation_bytes",
    "weight_bytes",
    "macs",
}
Refused = Callable[..., str]


def rpi4_margin() -> float:
    """What the table that ships was off by, at the 95th percentile."""
    error = LatencyTable.load(find_asset("latency_tables", "rpi4", suffix=".json", error=TableError)).error
    assert error
    return error.p95


def test_the_document_has_the_documented_keys(
    command: Command, small: SmallSupernet, tiny: SearchSpace
) -> None:
    printed = command(
        "search", "--supernet", small.name, "--device", "rpi4", "--latency", "1s", "--peak-memory", "40kB",
        "--json",
    )  # fmt: skip
    assert (printed.status, printed.err) == (0, "")
    document = printed.document
    assert document.keys() == {
        "architecture", "space", "supernet", "devices", "budgets", "predicted", "objective", "accuracy_bound",
        "is_exact", "by_seed", "measured", "contest", "finalists", "front", "search", "predictor",
        "precision", "checks", "network", "tables", "weights", "made_by",
    }  # fmt: skip
    assert tiny.parse(document["architecture"])
    assert document["devices"] == [{"name": "rpi4", "provenance": "estimated"}]
    assert document["predicted"].keys() == PREDICTED
    assert document["measured"] is None
    assert document["predicted"]["peak_activation_bytes"] <= 40_000
    assert [budget["name"] for budget in document["budgets"]] == ["latency", "peak_memory"]
    assert document["budgets"][0] == {
        "name": "latency", "device": "rpi4", "limit": 1000.0, "margin": rpi4_margin(),
        "searched_limit": 1000.0 * (1.0 - rpi4_margin()), "unit": "ms", "binds": False,
    }  # fmt: skip
    assert document["finalists"] is None
    assert document["contest"] is None
    assert document["front"]
    for candidate in document["front"]:
        assert candidate.keys() == {"architecture", "predicted"}
        assert candidate["predicted"].keys() == PREDICTED
    assert document["predicted"]["latency_ms"].keys() == {"rpi4"}
    assert document["search"].keys() == {"method", "resolutions", "evaluations", "cpu_seconds"}


def test_without_a_device_there_is_no_latency(command: Command, small: SmallSupernet) -> None:
    document = command("search", "--supernet", small.name, "--macs", "1M", "--json").document
    assert document["devices"] == []
    assert document["predicted"]["latency_ms"] == {}
    assert document["budgets"][0]["device"] is None


def test_people_are_told_that_a_table_is_estimated(command: Command, small: SmallSupernet) -> None:
    printed = command("search", "--supernet", small.name, "--device", "rpi4", "--latency", "1s")
    assert "on rpi4 are extrapolated: the fastest network that the table was fitted to" in printed.err
    assert printed.status == 0
    assert "estimated from published measurements" in printed.text
    assert "Measure your own: ofa-nas profile --device ssh://USER@HOST --name my-board" in printed.text
    searched = format_amount(1000.0 * (1.0 - rpi4_margin()), "ms")
    margin = f"(margin {format_share(rpi4_margin())}: the table's p95 error)"
    assert f"latency on rpi4 ≤ 1 s: does not bind; searched at {searched} {margin}" in printed.text
    assert "measured nothing: the latency on rpi4 is predicted" in printed.text
    assert "--measure ssh://USER@HOST times finalists on the board itself" in printed.text
    assert "trained on shapes (10 classes)" in printed.text
    assert "subnet 32/" in printed.text


def test_a_margin_of_the_users_own_is_shown(command: Command, small: SmallSupernet) -> None:
    arguments = ("search", "--supernet", small.name, "--device", "rpi4", "--latency", "1s", "--margin")
    assert "does not bind; searched at 950 ms (margin 5 %)" in command(*arguments, "5%").text
    assert "does not bind; no margin " in command(*arguments, "0").text
    (budget,) = command(*arguments, "0.05", "--json").document["budgets"]
    assert (budget["limit"], budget["margin"]) == (1000.0, 0.05)
    assert budget["searched_limit"] == pytest.approx(950.0)


def test_a_space_that_is_too_small_for_its_budgets_is_told(command: Command, small: SmallSupernet) -> None:
    told = "space ends at 32 px, and no budget binds: a copy with larger resolutions may be more accurate"
    search = ("search", "--supernet", small.name)
    assert told in command(*search, "--macs", "1G").text
    printed = command(*search, "--macs", "1G", "--json")
    assert "ends at" not in printed.out + printed.err
    goal = ("--objective", "macs", "--accuracy", "1%")
    for flags in ((), ("--macs", "400k"), ("--macs", "400k,1G"), ("--macs", "1G", *goal)):
        assert "space ends at" not in command(*search, *flags).text, flags


def test_a_search_in_vain_for_the_margin_says_so(refused: Refused, small: SmallSupernet) -> None:
    arguments = ("search", "--supernet", small.name, "--device", "rpi4", "--latency")
    advised = refused(*arguments, "1us", "--margin", "0").split("raise --latency to ")[1].split(" or more")[0]
    line = refused(*arguments, advised)
    assert f"cannot be met with a margin of {format_share(rpi4_margin())}" in line
    assert "or give --margin 0" in line


def test_a_table_of_one_resolution_narrows_the_search(
    command: Command, small: SmallSupernet, tiny: SearchSpace, tmp_path: Path
) -> None:
    table = exact_table(replace(tiny, resolutions=(24,)))
    assert table.measured
    path = tmp_path / "board.json"
    replace(table, held=replace(table.measured, digest=tiny.digest)).save(path)
    arguments = ("search", "--supernet", small.name, "--device", path, "--latency", "1s")
    assert "narrowed to 24 px: the table does not hold 32" in command(*arguments).text
    document = command(*arguments, "--json").document
    assert document["search"]["resolutions"] == [24]
    assert document["architecture"].startswith("24/")


@pytest.mark.campaign
def test_an_estimated_table_and_the_device_itself_work_together(
    command: Command, small: SmallSupernet, tmp_path: Path
) -> None:
    arguments = ("search", "--supernet", small.name, "--device", "rpi4", "--measure", "host")
    path = tmp_path / "subnet.onnx"
    document = command(*arguments, "--latency", "1s", "--finalists", "1", "--export", path, "--json").document
    (only,) = document["finalists"]["networks"]
    assert only["is_within"]
    assert document["finalists"]["slowdown"] == 1.0  # nobody knows what references took
    assert (document["finalists"]["device"], document["finalists"]["address"]) == ("rpi4", "host")
    assert document["measured"]["latency_ms"]["rpi4"] > 0.0
    shown = command("verify", path, "--supernet", small.name, "--device", "host").text
    assert "this machine, 1 thread, predicted for rpi4 (estimated)" in shown
    shown = command(*arguments, "--latency", "1s", "--finalists", "1", "--export", path).text
    told = "with 1 thread (the table rpi4 does not tell its own)"
    assert f"finalists timed on host, {told}:" in shown
    assert "this machine, 1 thread (the table does not tell its own), predicted for rpi4 (estimated)" in shown


@pytest.mark.campaign
def test_a_device_that_is_far_faster_than_its_table_gives_what_the_budget_really_buys(
    command: Command, small: SmallSupernet
) -> None:
    """No board of today takes a second for these networks, nor does this machine take a board's time."""
    arguments = ("search", "--supernet", small.name, "--device", "rpi4", "--measure", "host", "--latency")
    smallest = command("search", "--supernet", small.name, "--device", "rpi4", "--json").document["front"][0]
    limit = f"{1.3 * smallest['predicted']['latency_ms']['rpi4']:.3f}ms"
    document = command(*arguments, limit, "--json").document
    networks = document["finalists"]["networks"]
    assert {1, 2} <= {one["round"] for one in networks} <= {1, 2, 3}  # a loud machine may take the third
    assert document["architecture"] == networks[0]["architecture"]
    assert networks[0]["round"] > 1
    shown = command(*arguments, limit).text
    told = r"finalists timed on host in [23] rounds, each picked by what those before had shown, with 1 "
    assert re.search(told, shown)


def test_finalists_are_timed_with_the_threads_that_were_asked_for(
    refused: Refused, small: SmallSupernet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_result: object, _candidates: object, _space: object, site: Site, **_: object) -> None:
        raise BudgetError(f"timed with {site.protocol.threads} threads")

    monkeypatch.setattr("ofa_nas.pipeline.searching.finalists.measure_finalists", refuse)
    arguments = ("--device", "rpi4", "--measure", "host", "--latency", "1s", "--threads", "2")
    assert "timed with 2 threads" in refused("search", "--supernet", small.name, *arguments)


def test_people_are_told_how_far_off_a_measured_table_is(
    command: Command, small: SmallSupernet, tiny: SearchSpace, tmp_path: Path
) -> None:
    exact_table(tiny).save(tmp_path / "board.json")
    printed = command(
        "search", "--supernet", small.name, "--device", tmp_path / "board.json", "--latency", "3ms"
    )
    assert printed.status == 0
    assert "measured; off by 0.0% on average, 0.0% at the median and 0.0% at the 95th" in printed.text
    assert "on 1 unseen subnets" in printed.text
    assert "estimated" not in printed.text
    assert "≤ 3 ms: binds; no margin" in printed.text


def test_people_are_told_what_an_estimated_table_stands_for(command: Command, small: SmallSupernet) -> None:
    told = command("search", "--supernet", small.name, "--device", "rpi4", "--threads", "4").text
    assert "estimated from published measurements, and stands for TensorFlow Lite 2.7.1, ruy" in told
    assert "threads unknown (notes: ofa-nas devices)" in told
    assert "on average, 2.8% at the median and 10.4% at the 95th percentile" in told


@pytest.mark.parametrize(
    ("noisy", "throttled", "told"),
    [(6, 0, ["noisy: 6 of 10"]), (5, 5, []), (6, 7, ["noisy: 6 of 10", "slowed down during 7 of 10"])],
)
def test_people_are_told_that_most_of_a_table_is_unrest(
    noisy: int, throttled: int, told: list[str],
    command: Command, small: SmallSupernet, tiny: SearchSpace, tmp_path: Path,
) -> None:  # fmt: skip
    table = exact_table(tiny)
    assert table.measured
    measured = replace(table.measured, noisy=noisy, throttled=throttled, networks=10)
    replace(table, held=measured).save(tmp_path / "board.json")
    text = command("search", "--supernet", small.name, "--device", tmp_path / "board.json").text
    assert all(one in text for one in told)
    assert text.count("when measured") == len(told)


def test_a_found_subnet_is_exported_verified_and_evaluated(
    command: Command, small: SmallSupernet, tmp_path: Path
) -> None:
    path = tmp_path / "deep" / "subnet.onnx"
    found = command(
        "search", "--supernet", small.name, "--device", "rpi4", "--latency", "1s", "--macs", "600k",
        "--export", path, "--json",
    )  # fmt: skip
    assert (found.status, found.err) == (0, "")
    measured = found.document["measured"]
    assert measured.keys() == {
        "accuracy", "planned_ort_bytes", "rss_max_bytes", "weight_bytes", "macs", "exceeds_budget",
    }  # fmt: skip
    assert measured["macs"] == found.document["predicted"]["macs"] <= 600_000
    assert measured["weight_bytes"] == path.stat().st_size

    verified = command("verify", path, "--supernet", small.name, "--json")
    assert (verified.status, verified.err) == (0, "")
    checks = {check["quantity"]: check for check in verified.document["checks"]}
    assert checks["accuracy"]["measured"] == measured["accuracy"]
    assert checks["accuracy"]["predicted"] == found.document["predicted"]["accuracy"]

    arch = found.document["architecture"]
    evaluated = command("evaluate", arch, "--supernet", small.name, "--json")
    (result,) = evaluated.document["results"]
    assert result["architecture"] == arch
    assert result["accuracy"] == pytest.approx(measured["accuracy"], abs=0.011)  # one image, by rounding


def test_the_file_of_a_search_has_the_form_that_was_asked_for(
    command: Command, small: SmallSupernet, tmp_path: Path
) -> None:
    path = tmp_path / "subnet.onnx"
    arguments = ("search", "--supernet", small.name, "--macs", "600k", "--export", path)
    printed = command(*arguments, "--preprocess", "--batch", "dynamic", "--json")
    assert (printed.status, printed.err) == (0, "")
    card = ModelCard.from_model(read_model(path), path)
    assert card.form == FileForm("fp32", None, has_preprocessing=True)
    about = command("show", path, "--json").document["input"]
    size = card.arch.resolution
    assert (about["type"], about["shape"]) == ("uint8", ["batch", size, size, 3])
    quantised = command(*arguments, "--precision", "int8", "--batch", "4", "--json")
    assert quantised.status == 0
    assert ModelCard.from_model(read_model(path), path).form == FileForm("int8", 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch", "4"], "--batch only applies to an exported file: add --export FILE"),
        (["--preprocess"], "--preprocess only applies to an exported file: add --export FILE"),
        (["--export", "FILE", "--batch", "many"], "--batch many: expected a number such as 1, or dynamic"),
        (["--export", "FILE", "--batch", "257"], "batch 257: expected 1 to 256, or dynamic"),
        (
            ["--export", "FILE", "--batch", "2", "--macs", "1G", "--peak-memory", "1MB"],
            "--batch 2: a search limits the peak memory of one image at a time: leave out --peak-memory, or",
        ),
        (
            ["--export", "FILE", "--batch", "2", "--device", "rpi4", "--latency", "1s"],
            "--batch 2: a search limits the latency of one image at a time: leave out --latency, or give",
        ),
    ],
)
def test_a_form_that_no_file_can_have_is_refused_before_the_search(
    arguments: list[str], message: str, refused: Refused, small: SmallSupernet, tmp_path: Path
) -> None:
    given = [str(tmp_path / "subnet.onnx") if one == "FILE" else one for one in arguments]
    assert message in refused("search", "--supernet", small.name, *given)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_breaks_a_promise_ends_the_search_with_a_failure(
    command: Command, small: SmallSupernet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Delivery, "is_met", False)
    printed = command("search", "--supernet", small.name, "--export", tmp_path / "subnet.onnx", "--json")
    assert printed.status == 1
    assert printed.document["architecture"]


def test_the_table_of_checks_comes_last(command: Command, small: SmallSupernet, tmp_path: Path) -> None:
    path = tmp_path / "subnet.onnx"
    printed = command("search", "--supernet", small.name, "--macs", "600k", "--export", path)
    assert printed.status == 0
    assert printed.out.rstrip().endswith("subnet.onnx: every promise kept")
    for title in ("numerics", "top-1", "peak memory", "file size", "MACs"):
        assert title in printed.out.split("predicted", maxsplit=2)[2]


def test_the_program_itself_prints_one_document(small: SmallSupernet, tmp_path: Path) -> None:
    root = Path(ofa_nas.__file__).parents[1]
    arguments = ["search", "--supernet", small.name, "--macs", "1M", "--json"]
    done = subprocess.run(
        [sys.executable, str(root / "cli.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["supernet"] == "supernet"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--macs", "lots"], "--macs 'lots': expected MACs such as 200M"),
        (["--device", "rpi4", "--latency=-3ms"], "--latency '-3ms': expected latency such as"),
        (["--device", "rpi4", "--latency", "-3ms"], "such as 30ms or 0.03s, above zero"),
        (["--latency", "30ms"], "a latency budget needs a device: add --device host"),
        (["--macs", "1k"], "MACs ≤ 1 k MACs cannot be met: the smallest that tiny reaches is"),
        (["--macs", "1k"], "raise --macs to 154k or more"),
        (["--device", "toaster"], "toaster: no such latency table; shipped: "),
        (["--device", "missing/table.json"], "missing/table.json: no such latency table"),
        (["--method", "annealing"], "there is no 'annealing'; there are ageing, evolution, "),
        (["--margin", "5", "--latency", "30ms", "--device", "rpi4"], "--margin '5': expected a share of"),
        (["--margin", "5%"], "--margin is a share of the latency budget: give one with --latency"),
        (
            ["--finalists", "3", "--device", "rpi4"],
            "--finalists are timed on a device: give --measure host or ssh://USER@HOST; or evaluated",
        ),
        (["--measure", "rpi4", "--device", "rpi4"], "--measure rpi4: expected host, or ssh://USER@HOST"),
        (["--measure", "host"], "--measure says where the device of a table is: give the table to --device"),
        (["--measure", "ssh://pi", "--device", "host"], "--measure says where the device of a table is"),
        (["--seeds", "0"], "--seeds 0: expected 1 or more"),
        (["--evaluations", "0"], "--evaluations 0: expected 1 or more"),
        (["--finalists", "-1", "--device", "host"], "--finalists -1: expected 0 or more"),
        (["--device", "rpi5", "--latency", "30ms"], "rpi5 is a roofline of"),
        (["--supernet", "no_such"], "no_such: no such supernet"),
        (["--supernet", "missing.safetensors"], "missing.safetensors: no such supernet"),
    ],
)
def test_a_wrong_input_is_one_line(
    arguments: list[str], message: str, refused: Refused, small: SmallSupernet, tmp_path: Path
) -> None:
    export = ["--export", tmp_path / "out" / "subnet.onnx"]
    flags = arguments if "--supernet" in arguments else ["--supernet", small.name, *arguments]
    flags = [flag.replace("missing/", f"{tmp_path}/missing/") for flag in flags]
    assert message in refused("search", *flags, *export)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema": 1, "provenance": "measured"}', "\0"])
def test_a_broken_table_is_named(
    content: str, refused: Refused, small: SmallSupernet, tmp_path: Path
) -> None:
    path = tmp_path / "table.json"
    path.write_text(content)
    line = refused("search", "--supernet", small.name, "--device", path, "--latency", "3ms")
    assert "table.json: " in line


def test_a_table_of_another_space_is_named(
    refused: Refused, small: SmallSupernet, tiny: SearchSpace, tmp_path: Path
) -> None:
    exact_table(tiny.with_classes(12)).save(tmp_path / "table.json")
    line = refused(
        "search", "--supernet", small.name, "--device", tmp_path / "table.json", "--latency", "3ms"
    )
    assert "latency table exact was measured for tiny with 12 classes" in line


@pytest.mark.parametrize("name", ["below/subnet.onnx", "."])
def test_a_place_that_cannot_be_written_is_named(
    name: str, command: Command, small: SmallSupernet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("below").write_bytes(b"a file in the way")
    printed = command("search", "--supernet", small.name, "--macs", "1M", "--export", name, "--json")
    assert (printed.status, printed.out) == (1, "")
    assert printed.err.startswith("error: ")
    assert "cannot be written: " in printed.err
    assert [path.name for path in tmp_path.iterdir()] == ["below"]


JUNK = st.sampled_from(
    [None, True, "x", "", -1, 0, 1e300, 10**400, 3.5, [], {}, [None], {"a": 1}, ["x", "y", "z"]]
)


@pytest.mark.parametrize("value", [[1, 2, 10**400], [1, 2, 0], [1, 2], "123", None])
def test_a_card_with_a_normalization_of_no_use_is_refused(
    value: object, refused: Refused, small: SmallSupernet, tmp_path: Path
) -> None:
    files = small.copy_to(tmp_path / "run")
    document = json.loads(files.card.read_text(encoding="utf-8")) | {"input_std": value}
    files.card.write_text(json.dumps(document), encoding="utf-8")
    line = refused("search", "--supernet", files.weights)
    assert "supernet.json: input_std: expected" in line or "input_std: 2 numbers for 3 channels" in line


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_spoilt_card_is_one_error_that_names_the_file(
    data: st.DataObject, small: SmallSupernet, tmp_path: Path
) -> None:
    document = json.loads(small.files.card.read_text(encoding="utf-8"))
    place = document
    if data.draw(st.booleans()):
        place = document["space"]
        if data.draw(st.booleans()):
            place = data.draw(st.sampled_from([place["stem"], place["head"], *place["stages"]]))
    key = data.draw(st.sampled_from(sorted(place)))
    if data.draw(st.booleans()):
        del place[key]
    else:
        place[key] = data.draw(JUNK)
    path = tmp_path / "net.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    try:
        card = SupernetCard.load(path)
    except OfaNasError as error:
        assert "net.json" in str(error)  # noqa: PT017 - some values are right
    else:
        assert len(card.class_names) == card.space.classes


def test_a_corrupt_card_is_one_line(refused: Refused, small: SmallSupernet, tmp_path: Path) -> None:
    files = small.copy_to(tmp_path / "run")
    files.card.write_text(files.card.read_text(encoding="utf-8")[:300], encoding="utf-8")
    line = refused("search", "--supernet", files.weights, "--macs", "1M", "--export", tmp_path / "x.onnx")
    assert "supernet.json: not valid JSON" in line
    assert not (tmp_path / "x.onnx").exists()


def test_a_corrupt_predictor_is_one_line(refused: Refused, small: SmallSupernet, tmp_path: Path) -> None:
    files = small.copy_to(tmp_path / "run")
    files.predictor.write_text("{}", encoding="utf-8")
    assert "supernet.predictor.json" in refused("search", "--supernet", files.weights, "--macs", "1M")


@pytest.mark.parametrize("option", ["--device", "--supernet"])
def test_a_folder_where_a_file_is_meant_is_told(option: str, refused: Refused, tmp_path: Path) -> None:
    suffix = ".json" if option == "--device" else ".safetensors"
    folder = tmp_path / f"table{suffix}"
    folder.mkdir()
    told = f"{folder}: is a folder; give the path of a {suffix} file"
    others = [] if option == "--device" else ["--device", "rpi4"]
    assert told in refused("search", "--latency", "3ms", option, folder, *others)
