"""What the campaigns found, one example each: tracebacks, hangs, floods, and nonsense that was believed."""

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from ofa_nas.cli import main
from ofa_nas.data.dataset import open_data
from ofa_nas.data.files import read_npz
from ofa_nas.data.image_files import MOST_PIXELS, decode_image
from ofa_nas.data.sources.fashion_mnist import read_idx
from ofa_nas.errors import CheckpointError, DataError, OfaNasError, SpaceError, TableError, VerificationError
from ofa_nas.latency.calibration import calibrate
from ofa_nas.latency.roofline import Roofline
from ofa_nas.latency.table import LatencyTable
from ofa_nas.latency.timings import read_timings
from ofa_nas.pipeline.running.run_folder import digest_of
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.supernet import Supernet
from ofa_nas.supernet.tensor_file import read_tensor_file
from tests.hardening.mutations import changed
from tests.hardening.readers import BY_NAME
from tests.hardening.test_readers import copy_of, impatience

HUGE = 10**400  # an integer that is no float


@pytest.mark.parametrize(
    ("name", "place", "value", "told"),
    [
        ("estimated table", ("pricing", "constant_ms"), HUGE, "expected a number from 0.0 to"),
        ("estimated table", ("made_by", "seed"), float("nan"), "NaN is no number"),
        ("estimated table", ("notes",), ["\ud800"], "surrogates not allowed"),
        ("measured table", ("rows", 0, "kind"), "os.path", "OFA_NAS_PLUGINS"),
        ("estimated table", ("validation", "network_left_out", "p95"), -0.5, "p95: expected a number from 0"),
        ("estimated table", ("validation", "network_left_out", "within_5"), -1, "expected a number from 0"),
        ("recipe", ("phases", 1, "random_subnets"), 0, r"mine\.toml: phase .*: needs random_subnets"),
        ("card", ("data",), {"a": 1}, "data: expected a string"),
        ("card", ("sha256",), None, "sha256: expected a string"),
        ("card", ("input_std", 0), 1e-300, "input_std: expected numbers above 0"),
        ("card", ("input_std",), [0] * 500, "input_std: expected numbers above 0"),
        ("card", ("space", "stages", 0, "block"), "os.path", "OFA_NAS_PLUGINS"),
        ("onnx", ("ofa_nas.predicted", "accuracy"), "nan", "accuracy: expected a number from 0 to 1"),
        ("onnx", ("ofa_nas.predicted", "accuracy"), 69.0, "accuracy: expected a number from 0 to 1"),
        ("onnx", ("ofa_nas.predicted", "macs"), -1, "macs: expected a number from 0"),
        ("onnx", ("ofa_nas.predicted", "macs"), "x" * 3000, "macs: expected a number from 0"),
        ("onnx", ("ofa_nas.measured",), {"accuracy": True}, "accuracy: expected a number from 0 to 1"),
        ("onnx", ("ofa_nas.measured",), {"latency_ms": {"host": -2}}, "host: expected a number from 0"),
        ("onnx", ("ofa_nas.class_names", 0), None, "class_names must be a list of 10 names"),
        ("onnx", ("ofa_nas.input_mean", 0), True, "input_mean and input_std must be three numbers"),
        ("onnx", ("ofa_nas.input_std", 0), 1e-300, "input_std must be above 0"),
        ("onnx", ("ofa_nas.batch",), "x" * 3000, "its metadata are damaged"),
        ("onnx", ("ofa_nas.space", "stages", 0, "block"), "os.path", "OFA_NAS_PLUGINS"),
        ("bundle", ("about", "space", "stages", 0, "block"), "os.path", "OFA_NAS_PLUGINS"),
        ("bundle", ("about", "designs", 0, "resolution"), "x", "names no networks"),
        ("bundle", ("protocol", "rounds"), "x", "no job of this version"),
        ("bundle", ("protocol", "rounds"), HUGE, "no job of this version"),
        ("additive predictor", ("kind",), "os.path", "OFA_NAS_PLUGINS"),
        ("additive predictor", ("parameters", "ceiling"), 1e300, "expected fractions"),
        ("additive predictor", ("description",), None, "description: expected a string"),
        ("additive predictor", ("parameters", "widening"), -2.0, "half_widths: gave -.* from 0 up"),
        ("gp predictor", ("parameters", "widening"), -2.0, "half_widths: gave -.* from 0 up"),
        ("mlp predictor", ("parameters", "half_width"), -0.1, "half_widths: gave -0.1 .* from 0 up"),
        ("macs predictor", ("parameters", "half_width"), -0.1, "half_widths: gave -0.1 .* from 0 up"),
        ("additive predictor", ("parameters", "sigma"), True, "sigma: expected finite numbers, got bool"),
        ("additive predictor", ("parameters", "table", 0, 0), "0.5", "table: expected finite numbers"),
        ("gp predictor", ("parameters", "variances", 0), "1e999", "variances: expected finite numbers"),
        ("gp predictor", ("parameters", "scales", "noise"), "inf", "noise: expected finite numbers"),
        ("macs predictor", ("parameters", "slope"), "1", "slope: expected finite numbers"),
        (
            "mlp predictor",
            ("parameters", "half_width"),
            False,
            "half_width: expected finite numbers, got bool",
        ),
        ("additive predictor", ("draw", "images"), HUGE, "draw.images: expected an integer"),
        ("additive predictor", ("draw", "own_share"), -1.0, "draw.own_share: expected a number from 0"),
        ("gp predictor", ("parameters", "genes", 0, 0), 10**9, "a value is missing or wrong"),
        ("gp predictor", ("parameters", "sigma"), 1e200, "a value is missing or wrong"),
        ("mlp predictor", ("parameters", "networks"), [], "there is no network"),
        ("answers", (1, "nodes", 0, "ms"), HUGE, "nothing can have measured"),
        ("samples", (0, "images"), HUGE, "images cannot be right"),
        ("history", (0, "step"), "1", "not a report of a training"),
        ("history", (1, "loss"), {"a": 1}, "line 2: .*: loss: expected a number, got {'a"),
        ("history", (1, "phase"), None, "line 2: .*: phase: expected a text, got None"),
        ("checkpoint", ("__metadata__", "training", "step"), -1, "not the checkpoint of a training"),
        ("checkpoint", ("momentum:layers.stem.conv.weight", "dtype"), "F64", "no torch.float32"),
        ("weights", ("layers.stem.conv.weight", "dtype"), "F8_E4M3", "holds torch.float8_e4m3fn"),
        ("weights", ("layers.stem.conv.weight", "dtype"), "C64", "holds torch.complex64"),
        ("weights", ("layers.stem.conv.weight", "shape"), [2**62, 2**62], "damaged"),
        ("search document", ("checks",), 0, "checks: expected a list of one object or more"),
        ("search document", ("devices", 0, "name"), "x" * 3000, "latency_ms of .*: expected latencies on x"),
        ("run record", ("steps", "search", "seconds"), HUGE, "not the record of a run"),
        ("run record", ("steps", "search", "parts"), 0.5, "not the record of a run.*parts: 0.5"),
        ("run record", ("steps", "search", "parts"), 2, "not the record of a run.*parts: 2"),
        ("run record", ("steps", "search", "parts"), -1, "not the record of a run.*parts: -1"),
        ("run record", ("steps", "search", "status"), 7, "not the record of a run.*status: 7"),
        ("run record", ("steps", "search", "state"), "over", "not the record of a run.*state: 'over'"),
        ("run file", ("folder",), "a\0b", "folder: expected a string without the character NUL"),
        ("results on a board", (1,), [], "line 2 is damaged: delete the file"),
        ("results on a board", (0, "cpu"), None, "line 1 is damaged: delete the file"),
        ("results on a board", (2, "task"), {}, "line 3 is damaged: delete the file"),
        ("results on a board", (3, "wall_ms"), 1, "line 4 is damaged: delete the file"),
        ("space", ("bn_epsilon",), 0, "bn_epsilon: expected a number from 1e-12 to 1.0, got 0"),
        ("space", ("stages", 0, "width"), 10**4000, "expected an integer from 1 to 4096"),
    ],
    ids=lambda value: value.replace(" ", "-")[:20] if isinstance(value, str) else "",
)
def test_a_spoilt_place_is_one_error(
    name: str, place: tuple[Any, ...], value: Any, told: str, samples: dict[str, Path], tmp_path: Path
) -> None:
    reader, path = BY_NAME[name], copy_of(samples[name], tmp_path / "folder")
    assert reader.parse
    path.write_bytes(reader.build(changed(reader.parse(path.read_bytes()), place, "replace", value)))
    with pytest.raises(OfaNasError, match=told) as caught:
        reader.read(path)
    assert path.name in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("space", b"width = 0x" + b"f" * 5000, "width: expected|stem: is missing|description: is missing"),
        ("space", b"classes = " + b"9" * 5000, "not valid TOML"),
        ("space", b"a = " + b"[" * 50_000, "not valid TOML"),
        ("history", b'\xff\n{"step": 1}\n', "not a report of a training"),
        ("packed labels", b"\x93NUMPY\x01\x00\x08\x00{'descr'", "not a whole pack"),
        ("onnx", b"", "subnet.onnx"),
        (
            "run record",
            b'{"data": {"a": 1, "a": 2}}',
            r"run\.json: not valid JSON: the key 'a' stands there twice",
        ),
        ("tiny_imagenet classes", b"n01\0\n", r"wnids\.txt: not UTF-8 text: it holds the character NUL"),
        ("tiny_imagenet classes", b"../n01\n", r"wnids\.txt: '../n01' is no WordNet identifier"),
        ("pretrained weights", b"\x80\x02cos\nsystem\n.", r"mine\.pth: not the weights of EfficientNet"),
    ],
)
def test_spoilt_bytes_are_one_error(
    name: str, content: bytes, told: str, samples: dict[str, Path], tmp_path: Path
) -> None:
    path = copy_of(samples[name], tmp_path / "folder")
    path.write_bytes(content)
    with pytest.raises(OfaNasError, match=told):
        BY_NAME[name].read(path)


@pytest.mark.parametrize(
    ("name", "place", "key", "told"),
    [
        ("roofline table", ("pricing",), "x" * 3000, r"pricing\.xxx.*is not known here"),
        (
            "transfer checkpoint",
            ("__metadata__", "training", "recipe", "phases", 0),
            "x" * 3000,
            r"made with recipe\.phases\.0\.xxx.*resume with the same",
        ),
    ],
)
def test_a_key_of_any_length_is_told_in_short(
    name: str, place: tuple[Any, ...], key: str, told: str, samples: dict[str, Path], tmp_path: Path
) -> None:
    reader, path = BY_NAME[name], copy_of(samples[name], tmp_path / "folder")
    assert reader.parse
    document = reader.parse(path.read_bytes())
    path.write_bytes(reader.build(changed(document, (*place, key), "replace", 1)))
    with pytest.raises(OfaNasError, match=told) as caught:
        reader.read(path)
    assert len(str(caught.value)) < 1000


def test_an_output_of_a_run_that_never_ends_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "subnet.onnx").symlink_to("/dev/zero")
    assert digest_of(tmp_path / "subnet.onnx") == ""


def test_a_pack_that_claims_images_of_any_size_is_told_in_short(
    samples: dict[str, Path], tmp_path: Path
) -> None:
    path = copy_of(samples["pack"], tmp_path / "folder")
    document = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**document, "size_px": 10**4000}), encoding="utf-8")
    with pytest.raises(DataError, match=r"images\.npy: uint8 .*, not uint8") as caught:
        BY_NAME["pack"].read(path)
    assert len(str(caught.value)) < 1000


def test_a_graph_that_only_fails_when_it_runs_is_one_error(
    samples: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = copy_of(samples["onnx in a session"], tmp_path / "folder")
    model = onnx.load(path)
    node = next(node for node in model.graph.node if node.op_type == "Conv")
    next(one for one in node.attribute if one.name == "kernel_shape").ints[:] = [5, 5]
    path.write_bytes(model.SerializeToString())
    with pytest.raises(VerificationError, match=r"ONNX Runtime refuses .*subnet\.onnx: .*kernel_shape"):
        BY_NAME["onnx in a session"].read(path)
    assert main(["verify", str(path)]) == 1
    told = capfd.readouterr().err
    assert told.count("\n") == 1
    assert "kernel_shape" in told


def test_a_name_of_64_kilobytes_in_a_zip_file_is_not_repeated(
    samples: dict[str, Path], tmp_path: Path
) -> None:
    path = copy_of(samples["cifar10 arrays"], tmp_path / "folder")
    content = bytearray(path.read_bytes())
    content[26:28] = (len(content) - 30).to_bytes(2, "little")  # how long the name is, says the first entry
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"exact_subset\.npz: not a whole npz file: File name in") as caught:
        BY_NAME["cifar10 arrays"].read(path)
    assert len(str(caught.value)) < 1000


def test_a_damaged_journal_is_one_error(samples: dict[str, Path], tmp_path: Path) -> None:
    path = copy_of(samples["journal"], tmp_path / "folder")
    lines = path.read_bytes().splitlines(keepends=True)
    for number in range(len(lines)):
        for spoilt in (b"{\n", b'{"op_code": 99999}\n', b'{"op_code": 4, "trial_id": 1e999}\n', b"\xff\n"):
            path.write_bytes(b"".join([*lines[:number], spoilt, *lines[number + 1 :]]))
            try:
                BY_NAME["journal"].read(path)
            except OfaNasError as error:
                assert "study.log" in str(error)  # noqa: PT017


@pytest.mark.parametrize("field", ["mean: 0", "mean: -1", "mean: 1e300", "std: -1", "std: 1e300"])
def test_a_published_time_that_no_table_may_hold_is_refused(
    field: str, samples: dict[str, Path], tmp_path: Path
) -> None:
    path = copy_of(samples["look-up table"], tmp_path / "folder")
    lines = path.read_text(encoding="utf-8").splitlines()
    place = next(number for number, line in enumerate(lines) if line.strip().startswith(field[:4]))
    lines[place] = f"  {field}"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(TableError, match=r"mine\.yaml: .*: (expected a mean|its std)"):
        BY_NAME["look-up table"].read(path)


@pytest.mark.parametrize(
    ("times", "told"),
    [
        ((1e-7, 1e7), "no board takes such times"),
        ((1e7, 1e-7), "no board takes such times"),
        ((1e7, 1e7), "check the unit of its times"),
        ((0.1, 10.0), ""),
    ],
)
def test_timings_that_nothing_takes_make_a_table_that_can_be_read_or_none(
    times: tuple[float, float], told: str, tmp_path: Path
) -> None:
    space = SearchSpace.load("tiny")
    rows = [f"tiny,{arch},{ms}" for arch, ms in zip((space.smallest, space.largest), times, strict=True)]
    (tmp_path / "mine.csv").write_text("\n".join(["space,architecture,ms", *rows]), encoding="utf-8")
    timings = read_timings(tmp_path / "mine.csv")
    if told:
        with pytest.raises(TableError, match=told):
            calibrate(Roofline.load("rpi4"), timings)
        return
    calibrate(Roofline.load("rpi4"), timings).table.save(tmp_path / "mine.json")
    assert LatencyTable.load(tmp_path / "mine.json").model


def test_a_space_by_a_name_that_is_too_long_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(f"space,architecture,ms\n{'x' * 3000},24/3x2,1\n", encoding="utf-8")
    with pytest.raises(TableError, match=r"mine\.csv:2: x+: no such search space"):
        read_timings(tmp_path / "mine.csv")


def space_of(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> SearchSpace:
    document = SearchSpace.load("tiny").to_document()
    change(document)
    return SearchSpace.from_document(document, tmp_path / "mine.json")


def test_a_space_beyond_all_tables_is_refused(tmp_path: Path) -> None:
    with impatience(), pytest.raises(SpaceError, match="expected at most 500 and 200000"):
        space_of(tmp_path, lambda space: space.update(stages=space["stages"] * 400))
    with impatience(), pytest.raises(SpaceError, match="expected at most 500 and 200000"):
        space_of(
            tmp_path, lambda space: space.update(resolutions=list(range(8, 4096)), stages=space["stages"] * 9)
        )


def test_a_space_beyond_all_memory_is_refused(tmp_path: Path) -> None:
    def widen(space: dict[str, Any]) -> None:
        stage = {**space["stages"][0], "width": 4096, "expand_ratios": [16], "depths": [32]}
        space.update(stages=[stage] * 4)

    space = space_of(tmp_path, widen)
    with pytest.raises(SpaceError, match=r"has .* weights, more than 1e\+09"):
        Supernet(space)


def test_a_card_that_asks_for_more_than_its_weights_hold_allocates_nothing(
    samples: dict[str, Path], tmp_path: Path
) -> None:
    path = copy_of(samples["card"], tmp_path / "folder")
    document = json.loads(path.read_text(encoding="utf-8"))
    for stage in document["space"]["stages"]:
        stage.update(width=4096, expand_ratios=[16])
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(
        OfaNasError, match=r"supernet\.safetensors: has no room for the weights of supernet\.json"
    ):
        BY_NAME["card"].read(path)


def packed_zeros(size: int) -> bytes:
    """An npz file of a few kilobytes that unpacks to so many zeros."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": (size,)})
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("jpeg.npy", "w", force_zip64=True) as member,
    ):
        member.write(stream.getvalue())
        for _ in range(size >> 20):
            member.write(bytes(1 << 20))
    return buffer.getvalue()


def test_a_zip_bomb_unpacks_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "bomb.npz").write_bytes(packed_zeros(260 << 20))
    assert (tmp_path / "bomb.npz").stat().st_size < 1 << 20
    with pytest.raises(
        DataError, match=r"bomb\.npz: jpeg\.npy would be 2\d+ bytes, 100 times its packed size"
    ):
        read_npz(tmp_path / "bomb.npz", ("jpeg",))


def test_a_bomb_of_tensors_is_not_unpacked(tmp_path: Path) -> None:
    torch.save({"zeros": torch.zeros(1 << 22)}, tmp_path / "plain.pth")
    assert len(read_tensor_file(tmp_path / "plain.pth", what="no checkpoint")["zeros"]) == 1 << 22
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in plain.namelist():
            bomb.writestr(name, plain.read(name))
    with pytest.raises(CheckpointError, match=r"bomb\.pth: no checkpoint: it would unpack to 16\d+ bytes"):
        read_tensor_file(tmp_path / "bomb.pth", what="no checkpoint")
    content = (tmp_path / "plain.pth").read_bytes()
    (tmp_path / "torn.pth").write_bytes(content[:-20])
    with pytest.raises(CheckpointError, match=r"torn\.pth: no checkpoint: it is damaged"):
        read_tensor_file(tmp_path / "torn.pth", what="no checkpoint")


def test_a_gzip_bomb_unpacks_to_nothing(tmp_path: Path) -> None:
    header = bytes((0, 0, 8, 3)) + b"".join(side.to_bytes(4, "big") for side in (1 << 20, 64, 64))
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(header) + gzip.compress(bytes(64 << 20)) * 64)
    with impatience(), pytest.raises(DataError, match=r"bomb\.gz: truncated, or too long"):
        read_idx(tmp_path / "bomb.gz", ndim=3)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP"])
def test_gigantic_dimensions_allocate_nothing(kind: str) -> None:
    buffer = io.BytesIO()
    Image.new("1", (9500, 9500)).save(buffer, kind)
    with pytest.warns(Image.DecompressionBombWarning), pytest.raises(DataError) as caught:
        decode_image(buffer.getvalue(), "image 7")
    assert str(caught.value) == f"image 7: 9500 x 9500 px; expected {MOST_PIXELS:.0e} at most"


def test_a_class_name_that_is_no_text_is_found_before_the_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (b"caf\xe9", b"tea"):
        folder = Path(tmp_path / "data" / name.decode("utf-8", "surrogateescape"))
        folder.mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (8, 8)).save(folder / f"{number}.png")
    with pytest.raises(DataError, match=r"the class name 'caf\\udce9' is not UTF-8: rename it"):
        open_data(str(tmp_path / "data"))
    assert main(["train", "--data", str(tmp_path / "data"), "--output", str(tmp_path / "run")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
