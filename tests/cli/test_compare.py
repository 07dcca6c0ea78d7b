"""`ofa-nas compare`: what it says, its document, and what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.cli.conftest import Command
from tests.small_supernet import SmallSupernet


@pytest.fixture(scope="module")
def exported(small: SmallSupernet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from ofa_nas.cli import main

    path = tmp_path_factory.mktemp("exported") / "subnet.onnx"
    assert main(["export", "middle", "--supernet", small.name, "--output", str(path), "--json"]) == 0
    return path


def write_classifier(
    path: Path, shape: list[int | str], *, kind: int = TensorProto.FLOAT, outputs: int = 1, classes: int = 10
) -> Path:
    """Means of colours, times a matrix: the smallest classifier of images there is."""
    names = [f"scores{index}" for index in range(outputs)]
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("GlobalAveragePool", ["floats"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        *(helper.make_node("MatMul", ["flat", "weight"], [name]) for name in names),
    ]
    weight = np.random.default_rng(0).standard_normal((3, classes)).astype(np.float32)
    graph = helper.make_graph(
        nodes,
        "means",
        [helper.make_tensor_value_info("image", kind, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", classes]) for name in names],
        [onnx.numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def test_the_document_has_what_formats_says_and_people_get_sentences(
    command: Command, small: SmallSupernet, exported: Path, tmp_path: Path
) -> None:
    means = write_classifier(tmp_path / "means.onnx", ["N", 3, 32, 32])
    arguments = (
        "compare",
        exported,
        "--supernet",
        small.name,
        "--baseline",
        f"smallest,{means}",
        "--images",
        40,
    )
    path = tmp_path / "comparison.json"
    printed = command(*arguments, "--json-file", path)
    assert (printed.status, printed.err) == (0, "")
    assert f"{exported} beside {means}: no ratio, for its accuracy is unknown: nobody told" in printed.text
    assert "latency than smallest (" in printed.text
    assert "points (± " in printed.text
    assert "on the same 40 held-out images of" in printed.text
    found = json.loads(path.read_text())
    assert found.keys() == {
        *("file", "supernet", "data", "images", "seed", "device", "cpu", "onnxruntime", "threads"),
        *("networks", "comparisons"),
    }
    assert (found["images"], found["device"], found["threads"]) == (40, "host", 1)
    assert [one["name"] for one in found["networks"]] == [str(exported), "smallest", str(means)]
    for one in found["networks"]:
        assert one.keys() == {
            *(
                "name",
                "kind",
                "precision",
                "architecture",
                "note",
                "macs",
                "file_bytes",
                "accuracy",
                "accuracy_half_width",
            ),
            *("latency_ms", "latency_low_ms", "latency_high_ms", "latency_p90_ms", "noisy"),
        }
    for versus in found["comparisons"]:
        assert versus.keys() == {
            *("baseline", "latency_ratio", "latency_ratio_low", "latency_ratio_high"),
            *("accuracy_difference", "accuracy_standard_error", "refusal"),
        }
    first, second = found["comparisons"]
    assert first["latency_ratio_low"] <= first["latency_ratio"] <= first["latency_ratio_high"]
    assert first["refusal"] == "" != second["refusal"]
    assert second["latency_ratio"] is second["accuracy_difference"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--baseline", "mobilenet_v9"],
            "tiny has smallest, middle, largest; any other is given as its text",
        ),
        (["--baseline", "24/3x9"], "is not in tiny"),
        (["--baseline", "smallest,smallest"], "--baseline 'smallest' is given twice"),
        (["--baseline", "smallest,"], "--baseline '' is empty"),
        (["--baseline", "nope.onnx"], "nope.onnx: cannot be read"),
        (["--baseline", "smallest", "--device", "rpi4"], "--device rpi4: expected host, or ssh://USER@HOST"),
        (["--baseline", "smallest", "--images", "0"], "--images 0: expected 1 or more"),
        (["--baseline", "smallest", "--input-mean", "1,2,3"], "--input-mean and --input-std: give both"),
        (
            ["--baseline", "smallest", "--input-mean", "1,2", "--input-std", "1,1,1"],
            "--input-mean 1,2: expected",
        ),
        (["--baseline", "smallest", "--input-mean", "1,2,3", "--input-std", "1,0,1"], "numbers above 0"),
        (["--baseline", "smallest", "--input-mean", "1,2,3", "--input-std", "1,1,1"], "there is none"),
    ],
)
def test_wrong_options_are_one_line(
    options: list[str],
    message: str,
    refused: Callable[..., str],
    small: SmallSupernet,
    exported: Path,
) -> None:
    assert message in refused("compare", exported, "--supernet", small.name, *options)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        (["N", 1, 32, 32], {}, "its input is (N, 1, 32, 32) of float; expected one input (N, 3, H, W)"),
        (["N", 3, "H", "W"], {}, "its input is (N, 3, H, W) of float; expected one input"),
        (["N", 3, 32, 32], {"kind": TensorProto.UINT8}, "its input is (N, 3, 32, 32) of uint8; expected"),
        (["N", 3, 32, 32], {"outputs": 2}, "has 1 inputs and 2 outputs; expected one input"),
        (["N", 3, 9000, 9000], {}, "its input is (N, 3, 9000, 9000) of float; expected one input"),
        ([8, 3, 32, 32], {}, "takes 8 images at once; export it with a batch of one, or an open one"),
        (["N", 3, 32, 32], {"classes": 1}, "its output is (1, 1); expected one input"),
    ],
)
def test_a_file_that_is_no_classifier_of_images_is_refused(
    shape: list[int | str],
    options: dict[str, int],
    message: str,
    refused: Callable[..., str],
    small: SmallSupernet,
    exported: Path,
    tmp_path: Path,
) -> None:
    path = write_classifier(tmp_path / "other.onnx", shape, **options)
    arguments = ("compare", exported, "--supernet", small.name, "--baseline", path)
    assert f"{path}: {message}" in refused(*arguments)


def test_a_file_that_ofa_nas_did_not_export_is_refused(
    refused: Callable[..., str], small: SmallSupernet, tmp_path: Path
) -> None:
    path = write_classifier(tmp_path / "means.onnx", ["N", 3, 32, 32])
    message = refused("compare", path, "--supernet", small.name, "--baseline", "smallest")
    assert "not exported by this version of ofa-nas" in message
