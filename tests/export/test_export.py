"""An exported file is the calibrated subnet, whole, valid, and says what it is."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ofa_nas.data import Normalization
from ofa_nas.data.augment import to_input
from ofa_nas.errors import FileError
from ofa_nas.export.card import ModelCard, PredictedLatency, Quantization, read_model, with_card
from ofa_nas.export.export import exact_bytes, export_subnet, model_card
from ofa_nas.export.interface import FileForm, preprocessing_bytes
from ofa_nas.onnx_writer import random_weights, write_model
from ofa_nas.pipeline.delivery.deliver import save_model
from ofa_nas.precisions import FP16, INT8
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.precision import weight_bytes
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.checkpoint import load_supernet
from ofa_nas.supernet_card import Fit
from ofa_nas.training.evaluate import calibrated_subnet
from tests.small_supernet import SmallSupernet
from tests.torch_reference import relative_error, run_onnx

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)


def card_of(space: SearchSpace) -> ModelCard:
    return ModelCard(
        arch=space.middle,
        space=space,
        supernet="made up",
        supernet_sha256="0" * 64,
        data="shapes",
        class_names=tuple(f"Klasse {index} für ‘alle’\n" for index in range(space.classes)),
        normalization=Normalization((1.0, 2.5, 3.0), (4.0, 5.0, 6.125)),
        predicted={"accuracy": 0.75, "macs": 1234.0},
        latencies=(
            PredictedLatency("rpi4", "estimated", 1.25),
            PredictedLatency("host", "measured", 0.25, ""),
            PredictedLatency("host-openvino-gpu", "measured", 0.125, "openvino,device_type=GPU"),
        ),
    )


def model_of(space: SearchSpace) -> onnx.ModelProto:
    layers = list(space.layers(space.middle))
    weights = random_weights(layers, np.random.default_rng(0))
    return write_model(layers, weights, metadata=card_of(space).to_metadata())


def test_the_card_survives_the_file(tiny: SearchSpace, tmp_path: Path) -> None:
    path = tmp_path / "subnet.onnx"
    save_model(path, model_of(tiny))
    assert ModelCard.from_model(read_model(path), path) == card_of(tiny)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_a_file_tells_how_images_are_made_square_unless_it_crops(fit: Fit, tiny: SearchSpace) -> None:
    card = replace(card_of(tiny), fit=fit)
    metadata = card.to_metadata()
    assert metadata.get("ofa_nas.fit", "crop") == fit
    assert ("ofa_nas.fit" in metadata) == (fit != "crop")
    model = onnx.ModelProto()
    onnx.helper.set_model_props(model, metadata)
    assert ModelCard.from_model(model, Path("subnet.onnx")).fit == fit


def test_a_fit_that_is_none_is_refused(tiny: SearchSpace) -> None:
    model = onnx.ModelProto()
    onnx.helper.set_model_props(model, card_of(tiny).to_metadata() | {"ofa_nas.fit": "shrink"})
    with pytest.raises(FileError, match="damaged: fit must be one of crop, pad, stretch, got 'shrink'"):
        ModelCard.from_model(model, Path("subnet.onnx"))


def test_of_an_older_file_nobody_knows_for_which_provider_it_was_predicted(tiny: SearchSpace) -> None:
    metadata = card_of(tiny).to_metadata()
    latencies = json.loads(metadata["ofa_nas.latencies"])
    for one in latencies:
        del one["provider"]
    model = onnx.ModelProto()
    onnx.helper.set_model_props(model, metadata | {"ofa_nas.latencies": json.dumps(latencies)})
    card = ModelCard.from_model(model, Path("older.onnx"))
    assert card.latencies == tuple(replace(one, provider=None) for one in card_of(tiny).latencies)


@pytest.mark.parametrize("provider", [1, 0, [], ["openvino"], "cpu", "open vino", "qnn,path=/evil.so", "a\n"])
def test_a_card_is_refused_whose_provider_is_none(provider: object, tiny: SearchSpace) -> None:
    metadata = card_of(tiny).to_metadata()
    latencies = [{**one, "provider": provider} for one in json.loads(metadata["ofa_nas.latencies"])]
    model = onnx.ModelProto()
    onnx.helper.set_model_props(model, metadata | {"ofa_nas.latencies": json.dumps(latencies)})
    with pytest.raises(FileError, match=r"^spoilt\.onnx: its metadata are damaged: .* execution provider"):
        ModelCard.from_model(model, Path("spoilt.onnx"))


@pytest.mark.parametrize(
    ("device", "provider", "address"),
    [
        ("host", "", "host"),
        ("host", None, "host"),
        ("host-openvino", "openvino", "host+openvino"),
        ("rpi4", None, "ssh://USER@HOST"),
        ("jetson-gpu", "cuda", "ssh+cuda://USER@HOST"),
        ("host-openvino", "cuda", "ssh+cuda://USER@HOST"),
    ],
)
def test_a_prediction_says_at_what_address_it_can_be_checked(
    device: str, provider: str | None, address: str
) -> None:
    assert PredictedLatency(device, "measured", 1.0, provider).address == address


def test_the_file_is_the_calibrated_subnet_of_any_architecture(small: SmallSupernet) -> None:
    supernet, card = load_supernet(small.files)
    encoding = Encoding.of(card.space)
    drawn = encoding.decode(encoding.sample(3, np.random.default_rng(1)))
    for arch in (card.space.smallest, card.space.largest, *drawn):
        own = model_card(small.files.name, card, arch, {"accuracy": 0.5})
        subnet, model = export_subnet(supernet, own, calibration=small.calibration)
        x = to_input(torch.from_numpy(small.held_out.images[:4]), arch.resolution, own.normalization)
        again = calibrated_subnet(supernet, arch, images=small.calibration, normalization=own.normalization)
        with torch.no_grad():
            logits, raw = again(x).numpy(), supernet.extract(arch)(x).numpy()
            assert np.array_equal(subnet(x).numpy(), logits)
        found = np.concatenate([run_onnx(model, np.ascontiguousarray(image)) for image in x.numpy()[:, None]])
        assert relative_error(found, logits) <= 1e-4
        if arch != card.space.largest:
            assert relative_error(found, raw) > 0.01  # the supernet's own statistics are not the subnet's


def test_the_file_is_valid_and_every_shape_is_known(small: SmallSupernet, tmp_path: Path) -> None:
    supernet, card = load_supernet(small.files)
    own = model_card(small.files.name, card, card.space.largest, {})
    save_model(tmp_path / "subnet.onnx", export_subnet(supernet, own, calibration=small.calibration)[1])
    model = onnx.load(tmp_path / "subnet.onnx")
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    shapes = {
        value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*inferred.graph.value_info, *inferred.graph.output)
    }
    for node in model.graph.node:
        for name in node.output:
            assert all(size > 0 for size in shapes[name])
    assert shapes["logits"] == [1, 10]
    assert not any(node.op_type == "BatchNormalization" for node in model.graph.node)


def test_a_file_of_somebody_else_is_refused_by_name(tiny: SearchSpace, tmp_path: Path) -> None:
    path = tmp_path / "foreign.onnx"
    model = model_of(tiny)
    del model.metadata_props[:]
    save_model(path, model)
    with pytest.raises(FileError, match=r"foreign\.onnx: its metadata lack 'space': not exported by"):
        ModelCard.from_model(read_model(path), path)


@given(content=st.binary(max_size=60) | st.sampled_from([b"", b"\n" * 9, b"PK\x03\x04", b"\x08\x08"]))
def test_what_is_no_onnx_is_refused_by_name(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("junk") / "junk.onnx"
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"junk\.onnx: not a valid ONNX model: "):
        read_model(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused_by_name(share: float, tiny: SearchSpace, tmp_path: Path) -> None:
    path = tmp_path / "torn.onnx"
    content = model_of(tiny).SerializeToString()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(FileError, match=r"torn\.onnx: not a valid ONNX model: "):
        read_model(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"nope\.onnx: cannot be read: No such file"):
        read_model(tmp_path / "nope.onnx")


@given(data=st.data())
def test_damaged_metadata_are_one_error_that_names_the_file(data: st.DataObject, tiny: SearchSpace) -> None:
    metadata = card_of(tiny).to_metadata()
    key = data.draw(st.sampled_from(sorted(metadata)))
    value = data.draw(JSON.map(json.dumps) | st.text(max_size=9))
    path = Path("spoilt.onnx")
    model = onnx.ModelProto()
    onnx.helper.set_model_props(model, metadata | {key: value})
    try:
        card = ModelCard.from_model(model, path)
    except FileError as error:
        assert str(error).startswith("spoilt.onnx")  # noqa: PT017 - some values are right
    else:
        assert len(card.class_names) == card.space.classes
        assert min(card.normalization.std) > 0


@pytest.mark.parametrize("key", ["class_names", "input_std", "input_mean", "arch", "space", "predicted"])
def test_a_card_that_contradicts_itself_is_refused(key: str, tiny: SearchSpace) -> None:
    wrong = {
        "class_names": '["one", "two"]',
        "input_std": "[1, 2, 0]",
        "input_mean": f"[1, 2, {10**400}]",
        "arch": "32/9x9/9x9",
        "space": json.dumps(replace(tiny, resolutions=(8,)).to_document()),
        "predicted": '{"accuracy": "high"}',
    }
    model = onnx.ModelProto()
    onnx.helper.set_model_props(model, card_of(tiny).to_metadata() | {f"ofa_nas.{key}": wrong[key]})
    with pytest.raises(FileError, match=r"^spoilt\.onnx: its metadata are damaged: "):
        ModelCard.from_model(model, Path("spoilt.onnx"))


@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "absolute"])
@pytest.mark.parametrize("is_nested", [False, True])
def test_references_to_other_files_are_never_followed(
    location: str, is_nested: bool, tiny: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(tiny)
    tensor = model.graph.initializer[0]
    content = tensor.raw_data
    if is_nested:
        node = onnx.helper.make_node("Constant", [], [tensor.name], value=tensor)
        model.graph.node.insert(0, node)
        del model.graph.initializer[0]
        tensor = model.graph.node[0].attribute[0].t
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    (tmp_path / "run").mkdir()
    for folder in (tmp_path, tmp_path / "run"):
        (folder / "weights.bin").write_bytes(content)  # right in size: whoever looks would load it
    entry = tensor.external_data.add()
    entry.key = "location"
    entry.value = str(tmp_path / "weights.bin") if location == "absolute" else location
    monkeypatch.chdir(tmp_path / "run")
    save_model(Path("subnet.onnx"), model)
    with pytest.raises(FileError, match=r"^subnet\.onnx: keeps weights in another file"):
        read_model(Path("subnet.onnx"))


def test_exact_bytes_follow_precision_batch_input_and_what_stays_in_fp32(tiny: SearchSpace) -> None:
    plain = card_of(tiny)
    forms = (FileForm(), FileForm(FP16), FileForm(INT8))
    weights = [exact_bytes(replace(plain, form=form))["weight_bytes"] for form in forms]
    assert weights[0] == sum(map(weight_bytes, tiny.layers(plain.arch))) == 2 * weights[1]
    assert weights[1] > weights[2]
    kept = Quantization("minmax", 0.1, 0.9, 20, ("s0b0/expand", "s0b0/expand_act", "s0b0/depthwise"))
    int8 = replace(plain, form=FileForm(INT8))
    mixed = exact_bytes(replace(int8, quantization=kept))
    assert weights[2] < mixed["weight_bytes"] < weights[0]
    peak = exact_bytes(int8)["peak_activation_bytes"]
    assert exact_bytes(replace(plain, form=FileForm(INT8, batch=3)))["peak_activation_bytes"] == 3 * peak
    pixels = exact_bytes(replace(plain, form=FileForm(INT8, has_preprocessing=True)))["peak_activation_bytes"]
    assert pixels == max(peak, preprocessing_bytes(plain.arch.resolution))


def test_the_card_of_an_int8_file_survives(tiny: SearchSpace, tmp_path: Path) -> None:
    own = replace(
        card_of(tiny),
        form=FileForm(INT8, batch=None, has_preprocessing=True),
        quantization=Quantization("entropy", 0.01, 0.95, 20, ("s0b0/expand",)),
        measured={"accuracy": 0.5, "latency_ms": {"host": 1.5}, "threads": 2.0},
        made_by={"onnx": "1.2.3"},
    )
    save_model(tmp_path / "subnet.onnx", with_card(model_of(tiny), own))
    assert ModelCard.from_model(read_model(tmp_path / "subnet.onnx"), tmp_path) == own
