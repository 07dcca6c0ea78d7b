"""`ofa-nas verify`: the exit status is the verdict."""

import re
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from ofa_nas.export.card import PredictedLatency
from ofa_nas.pipeline.delivery.deliver import deliver
from ofa_nas.pipeline.searching.promise import LatencyPromise, Promise
from ofa_nas.space.search_space import SearchSpace
from tests.cli.conftest import Command
from tests.small_supernet import SmallSupernet, write_tests


@pytest.fixture(scope="module")
def exported(small: SmallSupernet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from ofa_nas.cli import main

    path = tmp_path_factory.mktemp("exported") / "subnet.onnx"
    assert main(["export", "middle", "--supernet", small.name, "--output", str(path), "--json"]) == 0
    return path


@pytest.mark.parametrize(
    ("budget", "status"),
    [
        (["--model-size", "1MB"], 0),
        (["--model-size", "1kB"], 1),
        (["--peak-memory", "1MB"], 0),
        (["--peak-memory", "1kB"], 1),
        (["--macs", "1G"], 0),
        (["--macs", "1k"], 1),
        (["--model-size", "1MB", "--macs", "1k"], 1),
    ],
)
def test_a_budget_that_is_exceeded_is_status_one(
    budget: list[str], status: int, command: Command, small: SmallSupernet, exported: Path
) -> None:
    printed = command("verify", exported, "--supernet", small.name, *budget, "--json")
    assert (printed.status, printed.err) == (status, "")
    document = printed.document
    assert document.keys() == {
        "file",
        "architecture",
        "is_met",
        "threads",
        "unchecked",
        "exceeds_budget",
        "checks",
    }
    assert document["exceeds_budget"] == (status == 1)
    assert document["is_met"] == (status == 0)
    assert all(
        check.keys()
        == {"quantity", "measured", "predicted", "unit", "is_met", "note", "device", "exceeds_budget"}
        for check in document["checks"]
    )


def test_each_check_is_one_line_outside_a_terminal(
    command: Command, small: SmallSupernet, exported: Path
) -> None:
    printed = command("verify", exported, "--supernet", small.name)
    lines = [line.split() for line in printed.out.splitlines()]
    (size,) = (line for line in lines if line[:2] == ["file", "size"])
    assert size[-5:] == ["predicted", "are", "the", "weights", "alone"]


def test_people_see_which_promise_is_broken(command: Command, small: SmallSupernet, exported: Path) -> None:
    printed = command("verify", exported, "--supernet", small.name, "--macs", "1k")
    assert printed.status == 1
    assert re.search(
        r"✗ counted from the architecture; over the budget of 1 k MACs by [\d.e+]+ %", printed.text
    )
    assert "a promise is broken, see ✗" in printed.text
    assert "every promise kept" in command("verify", exported, "--supernet", small.name).text


def test_a_kept_promise_that_a_measured_figure_exceeds_is_told(
    command: Command, small: SmallSupernet, exported: Path
) -> None:
    """The budget of a size is one of weights; the file is a little larger."""
    size = exported.stat().st_size - 1
    arguments = ("verify", exported, "--supernet", small.name, "--model-size", f"{size}B")
    printed = command(*arguments)
    assert printed.status == 0
    assert "! predicted are the weights alone; as measured over the budget of " in printed.text
    small_memory = command("verify", exported, "--supernet", small.name, "--peak-memory", "1kB")
    assert re.search(r"liveness.*; over the budget of 1 kB by ", small_memory.text)
    end = f"{exported}: every promise kept, but as measured file size is above its budget"
    assert printed.out.rstrip().endswith(end)
    document = command(*arguments, "--json").document
    assert (document["is_met"], document["exceeds_budget"]) == (True, True)
    above = {check["quantity"] for check in document["checks"] if check["exceeds_budget"]}
    assert above == {"file_size"}


def test_an_accuracy_that_the_file_does_not_reach_is_status_one(
    command: Command, small: SmallSupernet, exported: Path
) -> None:
    verify = ("verify", exported, "--supernet", small.name)
    checks = {one["quantity"]: one for one in command(*verify, "--json").document["checks"]}
    measured = checks["accuracy"]["measured"]
    assert 0.3 < measured < 0.95
    reached = command(*verify, "--accuracy", f"{100 * measured:.4f}%")
    assert (reached.status, reached.text.endswith("every promise kept")) == (0, True)
    near = command(*verify, "--accuracy", f"{measured + 0.01}")
    assert near.status == 0
    assert "; 1 points below the " in near.text
    assert near.text.endswith("every promise kept, but as measured top-1 is below what was asked")
    missed = command(*verify, "--accuracy", "100%", "--json")
    assert (missed.status, missed.err) == (1, "")
    assert (missed.document["is_met"], missed.document["exceeds_budget"]) == (False, True)
    (broken,) = (one for one in missed.document["checks"] if not one["is_met"])
    assert (broken["quantity"], broken["exceeds_budget"]) == ("accuracy", True)
    assert broken["note"].endswith(f"; {100 * (1 - measured):.3g} points below the 100% that was asked")


def test_an_accuracy_without_images_is_refused(refused: Callable[..., str], exported: Path) -> None:
    line = refused("verify", exported, "--accuracy", "10%")
    assert "--accuracy 10%: accuracy not measured: no images of shapes are at hand (" in line
    assert f"give the supernet that {exported} came from with --supernet" in line
    assert "--accuracy 'much': expected a top-1" in refused("verify", exported, "--accuracy", "much")


@pytest.mark.slow
def test_a_latency_budget_is_measured_on_this_machine(
    command: Command, small: SmallSupernet, exported: Path
) -> None:
    printed = command(
        "verify", exported, "--supernet", small.name, "--device", "host", "--latency", "1us", "--json"
    )
    assert printed.status == 1
    checks = {check["quantity"]: check for check in printed.document["checks"]}
    assert not checks["latency"]["is_met"]
    assert checks["latency_p90"]["measured"] >= checks["latency"]["measured"] * 0.5 > 0.0


@pytest.mark.slow
def test_a_time_of_another_provider_is_told_of_once(
    command: Command, small: SmallSupernet, tiny: SearchSpace, tmp_path: Path
) -> None:
    path = tmp_path / "subnet.onnx"
    predicted = PredictedLatency("board", "measured", 1.0, "openvino")
    list(
        deliver(small.files, tiny.smallest, Promise({}, latencies=(LatencyPromise(predicted),)), output=path)
    )
    assert "1 ms predicted on board (measured), not measured: " in command("verify", path).text
    text = command("verify", path, "--device", "host").text
    assert "predicted on board is for openvino, host for the CPU: --device host+openvino" in text
    assert text.count("predicted on board") == 1


def test_a_file_is_judged_by_images_of_ones_own(
    command: Command, refused: Callable[..., str], small: SmallSupernet, exported: Path, tmp_path: Path
) -> None:
    own = write_tests(tmp_path)
    judged = ("verify", exported, "--data", own, "--split", "all", "--json")
    for more in ((), ("--supernet", small.name)):
        document = command(*judged, *more).document
        (found,) = (check for check in document["checks"] if check["quantity"] == "accuracy")
        assert found["note"].startswith(f"55 images of {own}, ± ")
    arguments = ("evaluate", exported, "--data", own, "--split", "all", "--json")
    (result,) = command(*arguments).document["results"]
    assert found["measured"] == result["accuracy"]
    assert command(*judged, "--accuracy", "1%").status == 0
    assert command(*judged, "--accuracy", "100%").status == 1
    assert "add --data" in refused("verify", exported, "--split", "all")
    (own / "class_1").rename(own / "zebra")
    assert "they must be the same" in refused(*judged)


@pytest.mark.slow
def test_a_device_that_answers_with_other_weights_breaks_the_promise(
    command: Command, small: SmallSupernet, exported: Path, tmp_path: Path
) -> None:
    """Answers of the file itself keep it, those of a file with other weights do not."""
    other = tmp_path / "other.onnx"
    model = onnx.load(exported)
    for weights in model.graph.initializer:
        values = onnx.numpy_helper.to_array(weights)
        if values.ndim == 4:
            weights.CopyFrom(onnx.numpy_helper.from_array(values[:, :, ::-1].copy(), weights.name))
    onnx.save(model, other)
    line = ("verify", exported, "--supernet", small.name, "--device")
    address = f"tests.devices.mistaken://{exported}"
    kept = command(*line, address, "--json")
    assert kept.status == 0
    quantities = [check["quantity"] for check in kept.document["checks"]]
    assert quantities.index("answers") == quantities.index("latency_p90") + 1
    address = f"tests.devices.mistaken://{other}"
    broken = command(*line, address, "--json")
    assert broken.status == 1
    (answers,) = (check for check in broken.document["checks"] if check["quantity"] == "answers")
    assert not answers["is_met"]
    assert answers["note"].startswith(f"same class on {address} as on this machine: ")
    assert f"{address} does not compute what the file says" in answers["note"]


@pytest.mark.slow
def test_a_device_that_cannot_be_asked_for_answers_is_told_of(
    command: Command, small: SmallSupernet, exported: Path
) -> None:
    address = "tests.devices.unasked://one"
    printed = command("verify", exported, "--supernet", small.name, "--device", address, "--json")
    assert printed.status == 0
    assert printed.document["unchecked"] == [
        f"answers of {address} not compared: its backend has no method logits"
    ]
    here = command("verify", exported, "--supernet", small.name, "--device", "host", "--json").document
    assert here["unchecked"] == []  # there is nothing to compare it with but itself
    assert "answers" not in {check["quantity"] for check in here["checks"]}


def test_the_file_alone_is_enough(command: Command, exported: Path) -> None:
    printed = command("verify", exported)
    assert printed.status == 0
    assert "which does not ship; give its .safetensors file" in printed.text
    assert "every promise kept that could be checked" in printed.text
    document = command("verify", exported, "--json").document
    assert len(document["unchecked"]) == 2
    assert document["is_met"]


def test_wrong_inputs_are_one_line(
    refused: Callable[..., str], small: SmallSupernet, exported: Path, tmp_path: Path
) -> None:
    missing = refused("verify", tmp_path / "nope.onnx", "--supernet", small.name)
    assert "nope.onnx: cannot be read: No such file" in missing
    assert "add --device host" in refused("verify", exported, "--supernet", small.name, "--latency", "1s")
    board = refused("verify", exported, "--supernet", small.name, "--device", "rpi4")
    assert "--device rpi4: expected host, or ssh://USER@HOST for a board; a table times nothing" in board
    assert "is no address of a board" in refused(
        "verify", exported, "--supernet", small.name, "--device", "ssh://-oProxyCommand=x"
    )
    (tmp_path / "torn.onnx").write_bytes(exported.read_bytes()[:-100])
    assert "torn.onnx: not a valid ONNX model" in refused("verify", tmp_path / "torn.onnx")
    assert "--macs 'x'" in refused("verify", exported, "--supernet", small.name, "--macs", "x")
