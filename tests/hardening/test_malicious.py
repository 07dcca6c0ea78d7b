"""Files from strangers run nothing, read nothing beside them, and write nowhere but where the user said."""

import io
import json
import pickle
import shutil
import stat
import sys
import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from ofa_nas.cli import main
from ofa_nas.data.dataset import open_data
from ofa_nas.data.packed import open_pack
from ofa_nas.data.sample import load_images
from ofa_nas.devices.ssh import Address
from ofa_nas.errors import DataError, DeviceError, FileError, OfaNasError
from ofa_nas.export.card import read_model
from ofa_nas.files import ABANDONED_S, replacing, write_bytes
from ofa_nas.latency.bundle import collect
from ofa_nas.latency.shelf import named_table_path
from ofa_nas.latency.table import LatencyTable
from ofa_nas.plugins import TRUSTED
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.official import read_official
from ofa_nas.supernet.official_predictor import read_official_predictor
from tests.hardening.mutations import changed
from tests.hardening.readers import BY_NAME
from tests.hardening.test_readers import Samples, copy_of


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


@pytest.fixture
def tripwire(tmp_path: Path) -> Path:
    """A file that is not there, unless somebody's code has run."""
    return tmp_path / "tripwire"


def test_pickles_are_not_run(samples: Samples, tripwire: Path, tmp_path: Path) -> None:
    objects = np.array([Payload(tripwire)], dtype=object)
    pack = copy_of(samples["packed labels"], tmp_path / "pack")
    for path in (pack, pack.with_name("images.npy")):
        before = path.read_bytes()
        np.save(path, objects, allow_pickle=True)
        with pytest.raises(DataError, match="not a whole pack"):
            open_pack(pack.parent)
        path.write_bytes(pickle.dumps(Payload(tripwire)))
        with pytest.raises(DataError, match="not a whole pack"):
            open_pack(pack.parent)
        path.write_bytes(before)
    np.savez(tmp_path / "sample.npz", offset=objects, label=objects, class_names=objects)
    with pytest.raises(DataError, match="Python objects"):
        load_images(tmp_path / "sample.npz")
    for content in ({"a": Payload(tripwire)}, Payload(tripwire), {Payload(tripwire): torch.zeros(1)}):
        for is_zip in (True, False):
            torch.save(content, tmp_path / "mine.pth", _use_new_zipfile_serialization=is_zip)
            with pytest.raises(OfaNasError, match=r"mine\.pth: not a checkpoint"):
                read_official(tmp_path / "mine.pth")
            with pytest.raises(OfaNasError, match=r"mine\.pth: not a file of torch tensors"):
                read_official_predictor(tmp_path / "mine.pth", None)  # type: ignore[arg-type]  # not reached
            assert main(["import", str(tmp_path / "mine.pth")]) == 1
    assert not tripwire.exists()


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("space", ("stages", 0, "block")),
        ("card", ("space", "stages", 0, "block")),
        ("onnx", ("ofa_nas.space", "stages", 0, "block")),
        ("bundle", ("about", "space", "stages", 0, "block")),
        ("measured table", ("rows", 0, "kind")),
        ("timings of blocks", (1, 0)),
        ("additive predictor", ("kind",)),
    ],
)
def test_a_module_that_a_file_names_is_run_only_if_the_user_trusts_it(
    name: str,
    place: tuple[object, ...],
    samples: Samples,
    tripwire: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lab = f"lab_of_{name.replace(' ', '_')}"
    (tmp_path / lab).mkdir()
    (tmp_path / lab / "block.py").write_text(f"from pathlib import Path\nPath({str(tripwire)!r}).touch()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    reader, path = BY_NAME[name], copy_of(samples[name], tmp_path / "folder")
    assert reader.parse
    path.write_bytes(reader.build(changed(reader.parse(path.read_bytes()), place, "replace", f"{lab}.block")))
    with pytest.raises(OfaNasError, match=rf"{path.name}.*{TRUSTED}"):
        reader.read(path)
    assert not tripwire.exists()
    assert f"{lab}.block" not in sys.modules
    monkeypatch.setenv(TRUSTED, f"other, {lab}")
    with suppress(OfaNasError):  # it is imported now, and holds nothing
        reader.read(path)
    assert tripwire.exists() or name == "measured table"  # a table never asks what its kinds are


@pytest.mark.parametrize("data", ["{lab}.loader", "{lab}.loader@64/32", "{lab}.loader={folder}", "{folder}"])
def test_the_data_set_that_an_onnx_file_names_runs_nothing_and_reads_no_folder(
    data: str,
    samples: Samples,
    tripwire: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lab = f"lab_{tmp_path.name.replace('-', '_')}"
    (tmp_path / lab).mkdir()
    (tmp_path / lab / "loader.py").write_text(f"from pathlib import Path\nPath({str(tripwire)!r}).touch()\n")
    (tmp_path / "classes" / "a").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path))
    reader, path = BY_NAME["onnx"], copy_of(samples["onnx"], tmp_path / "folder")
    assert reader.parse
    document, data_named = reader.parse(path.read_bytes()), data.format(lab=lab, folder=tmp_path / "classes")
    document = changed(document, ("ofa_nas.supernet",), "replace", "not-here")
    document = changed(document, ("ofa_nas.data",), "replace", data_named)
    path.write_bytes(reader.build(document))
    assert main(["verify", str(path)]) == 0
    assert TRUSTED in capsys.readouterr().out
    assert not tripwire.exists()
    if "=" not in data and "{lab}" in data:
        monkeypatch.setenv(TRUSTED, lab)
        assert main(["verify", str(path)]) == 0
        assert tripwire.exists()


def external(location: str) -> onnx.TensorProto:
    tensor = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[2])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return tensor


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "beside.bin"])
@pytest.mark.parametrize("where", ["initializer", "constant", "sparse", "branch", "function"])
def test_an_onnx_file_refers_to_no_other(
    where: str, location: str, samples: Samples, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = onnx.load(samples["onnx"])
    (tmp_path / "beside.bin").write_bytes(bytes(8))
    tensor = external(location)
    graph = onnx.GraphProto(name="branch", initializer=[tensor])
    match where:
        case "initializer":
            model.graph.initializer.append(tensor)
        case "constant":
            node = model.graph.node.add(op_type="Constant", output=["c"])
            node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR, t=tensor)
        case "sparse":
            model.graph.sparse_initializer.add(values=tensor, dims=[2])
        case "branch":
            node = model.graph.node.add(op_type="If", output=["i"])
            node.attribute.add(name="then_branch", type=onnx.AttributeProto.GRAPH, g=graph)
        case _:
            function = model.functions.add(name="f", domain="mine")
            function.node.add(op_type="Constant", output=["c"]).attribute.add(
                name="value", type=onnx.AttributeProto.TENSOR, t=tensor
            )
    path = tmp_path / "subnet.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(FileError, match=r"subnet\.onnx: keeps weights in another file"):
        read_model(path)
    assert main(["verify", str(path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_bundle_is_read_and_never_unpacked(samples: Samples, tmp_path: Path) -> None:
    content, outside = io.BytesIO(samples["bundle"].read_bytes()), tmp_path / "outside"
    with zipfile.ZipFile(content, "a") as archive:
        for name in ("../../slipped", str(outside), "models/../../slipped"):
            archive.writestr(name, b"slipped")
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc")
    folder = tmp_path / "deep" / "folder"
    folder.mkdir(parents=True)
    (folder / "mine.zip").write_bytes(content.getvalue())
    (folder / "results.jsonl").write_text("{}\n", encoding="utf-8")
    with pytest.raises(FileError, match=r"results\.jsonl: line 1 is no record"):
        collect(folder / "results.jsonl", folder / "mine.zip", name="mine")
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "deep",
        "folder",
        "mine.zip",
        "results.jsonl",
    ]


def test_a_link_where_a_file_is_written_is_replaced_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    (tmp_path / "link").symlink_to(target)
    write_bytes(tmp_path / "link", b"new")
    assert target.read_bytes() == b"precious"
    assert not (tmp_path / "link").is_symlink()


def test_nobody_can_foresee_the_name_of_a_temporary_file(tmp_path: Path) -> None:
    names = set()
    for _ in range(3):
        with replacing(tmp_path / "file") as temporary:
            names.add(temporary.name)
            assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
            temporary.write_bytes(b"content")
    assert len(names) == 3


def test_orphans_are_swept_once_they_are_old(tmp_path: Path) -> None:
    import os
    import time

    young, old, other = (tmp_path / f".{name}.tmp" for name in ("file.0", "file.1", "other.1"))
    for orphan in (young, old, other):
        orphan.write_bytes(b"half")
    for orphan in (old, other):
        os.utime(orphan, (time.time() - ABANDONED_S - 60,) * 2)
    write_bytes(tmp_path / "file", b"whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".file.0.tmp", ".other.1.tmp", "file"]


@pytest.mark.parametrize(
    "name", ["../../x", "/etc/x", "a/../../x", "..", "a\x00b", "\x1b[2J", "x" * 500, "-rf"]
)
def test_a_space_of_a_hostile_name_leaves_the_cache_folder_alone(name: str, tiny: SearchSpace) -> None:
    path = named_table_path(replace(tiny, name=name), "host")
    assert path.parent.name == "latency_tables"
    assert path.parent == named_table_path(tiny, "host").parent
    assert path.name.startswith("host-")
    assert len(path.name) < 200
    assert path.name.isprintable()


@pytest.mark.parametrize(
    "address",
    [
        "ssh://-oProxyCommand=touch${IFS}x",
        "ssh://-oProxyCommand=x@host",
        "ssh://host;touch x",
        "ssh://$(touch x)",
        "ssh://`touch x`",
        "ssh://host\n-oProxyCommand=x",
        "ssh://host/-c/touch;x",
        "ssh://user:pass@host",
        "ssh://host:22 -F x",
        "ssh://[::1]:99999",
        "ssh://höst",
        "ssh://",
    ],
)
def test_an_address_that_a_shell_or_ssh_would_obey_is_refused(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DeviceError, match="is no address of a board"):
        Address.parse(address)
    assert main(["profile", "--device", address, "--space", "tiny"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_links_in_a_data_folder_are_images_or_one_error(samples: Samples, tmp_path: Path) -> None:
    root = tmp_path / "data"
    for name in ("a", "-rf $(touch x);"):
        (root / name).mkdir(parents=True)
        for number in range(3):
            shutil.copy(samples["png"], root / name / f"{number}.png")
    (root / "a" / "ring.png").symlink_to("ring.png")
    with pytest.raises(DataError, match=r"ring\.png: cannot be read: Too many levels"):
        open_data(str(root))
    for target in ("/dev/zero", "/etc/passwd", str(tmp_path)):
        (root / "a" / "ring.png").unlink()
        (root / "a" / "ring.png").symlink_to(target)
        try:
            found = open_data(str(root))
            for split in (found.train, found.val):
                for index in range(len(split)):
                    split.pixels(index)
        except DataError as error:
            assert "ring.png: c" in str(error)  # noqa: PT017


def test_hostile_names_of_classes_and_tables_are_no_markup_of_a_page(
    samples: Samples, tmp_path: Path
) -> None:
    files = copy_of(samples["card"], tmp_path / "net")
    document = json.loads(samples["measured table"].read_text(encoding="utf-8"))
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    document.update(name=hostile, notes=[hostile])
    (tmp_path / "table.json").write_text(json.dumps(document), encoding="utf-8")
    assert LatencyTable.load(tmp_path / "table.json").name == hostile
    weights = str(files.with_name("supernet.safetensors"))
    page = tmp_path / "page.html"
    arguments = ["search", "--supernet", weights, "--device", str(tmp_path / "table.json"), "--latency", "9s"]
    assert main([*arguments, "--report", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "alert(1)" in text
