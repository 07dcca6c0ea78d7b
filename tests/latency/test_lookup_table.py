"""Published look-up tables: every subnet is the plain sum of the files' entries; what is wrong is named."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ofa_nas.assets import asset_folder
from ofa_nas.errors import TableError
from ofa_nas.latency.lookup_table import Origin, import_lookup_tables, read_lookup_table
from ofa_nas.latency.table import LatencyTable
from ofa_nas.space.architecture import Architecture, Block
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.search_space import SearchSpace

SPACE = SearchSpace.load("mobilenet_v3_w1.2")
ORIGIN = Origin("a phone", source="somebody", licence="MIT")
SHIPPED = asset_folder("latency_tables") / "note10.json"
WIDTHS = (24, 32, 48, 96, 136, 192)  # once-for-all at width 1.2: the first block, then five stages
STRIDES = (1, 2, 2, 2, 1, 2)
SQUEEZE = (0, 0, 1, 0, 1, 1)
SWISH = (0, 0, 0, 1, 1, 1)
needs_data = pytest.mark.skipif("OFA_NAS_DATA" not in os.environ, reason="no data sets at hand")


def keys_of(arch: Architecture) -> Iterator[str]:
    """The keys of an architecture by once-for-all's own walk, apart from `SearchSpace.layers`."""
    size = int((arch.resolution - 1) / 2 + 1)
    yield f"Conv-input:{arch.resolution}x{arch.resolution}x3-output:{size}x{size}x24"
    channels = 24
    for stage, blocks in enumerate(arch.stages):
        for index, block in enumerate(blocks):
            stride = 1 if index else STRIDES[stage]
            out = int((size - 1) / stride + 1)
            mid = channels * block.expand_ratio  # a multiple of 8 at these widths
            skip = int(index > 0 or stage == 0)
            yield (
                f"expanded_conv-input:{size}x{size}x{channels}-output:{out}x{out}x{WIDTHS[stage]}"
                f"-expand:{mid}-kernel:{block.kernel_size}-stride:{stride}-idskip:{skip}"
                f"-se:{SQUEEZE[stage]}-hs:{SWISH[stage]}"
            )
            size, channels = out, WIDTHS[stage]
    yield f"Conv_1-input:{size}x{size}x192-output:{size}x{size}x1152"
    yield f"AvgPool2D-input:{size}x{size}x1152-output:1x1x1152"
    yield "Conv_2-input:1x1x1152-output:1x1x1536"
    yield "Logits-input:1x1x1536-output:1000"


def subnets(resolution: int, count: int) -> list[Architecture]:
    """Random subnets, and the extremes: every block and depth alike."""
    encoding = Encoding.of(SPACE)
    genes = encoding.sample(count, np.random.default_rng(resolution))
    genes[:, 0] = SPACE.resolutions.index(resolution)
    uniform = [
        Architecture(resolution, ((Block(3, 1),), *((Block(kernel, expand),) * depth for _ in range(5))))
        for kernel in (3, 5, 7)
        for expand in (3, 4, 6)
        for depth in (2, 3, 4)
    ]
    return encoding.decode(genes) + uniform


def write_file(path: Path, resolution: int) -> Path:
    """A file with random values for every key that some subnet of a resolution needs."""
    keys = sorted({key for arch in subnets(resolution, 0) for key in keys_of(arch)})
    rng = np.random.default_rng(resolution)
    lines = [f"{key}:\n  count: 100\n  mean: {rng.gamma(1.0)!r}\n  std: {1e-3!r}\n" for key in keys]
    path.write_text("".join(lines).replace("np.float64(", "").replace(")", ""), encoding="utf-8")
    return path


def plain_sum(path: Path, arch: Architecture) -> float:
    """Entries added up as once-for-all does."""
    entries = read_lookup_table(path).entries
    return sum(entries[key].mean for key in keys_of(arch))  # since Python 3.12, more exact than a loop


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("tables")
    return [write_file(folder / f"{size}.yaml", size) for size in (164, 168)]  # both have 11 px blocks


@pytest.fixture(scope="module")
def table(files: list[Path]) -> LatencyTable:
    return import_lookup_tables(files, SPACE, name="phone", origin=ORIGIN)


def test_every_subnet_is_exactly_the_sum_of_its_entries(table: LatencyTable, files: list[Path]) -> None:
    for path, size in zip(files, (164, 168), strict=True):
        for arch in subnets(size, 60):
            assert table.latency_ms(SPACE, arch) == plain_sum(path, arch)


def test_an_imported_table_survives_its_file_to_the_last_digit(table: LatencyTable, tmp_path: Path) -> None:
    path = tmp_path / "phone.json"
    table.save(path)
    loaded = LatencyTable.load(path)
    assert loaded.published
    assert table.published
    assert loaded.published.prices == table.published.prices
    assert loaded.latency_ms(SPACE, subnets(164, 1)[0]) == table.latency_ms(SPACE, subnets(164, 1)[0])
    again = tmp_path / "again.json"
    loaded.save(again)
    assert again.read_bytes() == path.read_bytes()


def test_an_imported_table_says_what_it_is(table: LatencyTable) -> None:
    assert table.provenance == "imported"
    assert table.error is None
    assert table.sources == ("somebody",)
    assert table.published
    assert table.published.licence == "MIT"
    assert table.published.resolutions == (164, 168)
    assert len(table.published.rows) == 2 * 96
    assert table.device.cores is None
    assert any("Nobody here timed" in note for note in table.notes)


def test_populations_are_costed_as_single_subnets_are(table: LatencyTable) -> None:
    narrow = table.narrow(SPACE)
    assert narrow.resolutions == (164, 168)
    encoding = Encoding.of(narrow)
    genes = encoding.sample(100, np.random.default_rng(0))
    plain = [table.latency_ms(narrow, arch) for arch in encoding.decode(genes)]
    assert table.cost_table(encoding).total(genes) == pytest.approx(plain, rel=1e-12)


def test_what_it_does_not_hold_is_refused(table: LatencyTable) -> None:
    with pytest.raises(TableError, match="resolution 160 is not in it; it holds 125 layers"):
        table.latency_ms(SPACE, subnets(160, 1)[0])
    other = SearchSpace.load("mobilenet_v3")
    with pytest.raises(TableError, match="layer stem"):
        table.latency_ms(other, Architecture(164, other.largest.stages))


def test_a_missing_key_is_named(files: list[Path], tmp_path: Path) -> None:
    text = files[0].read_text(encoding="utf-8")
    key = next(key for key in keys_of(subnets(164, 1)[0]) if "-kernel:" in key and "-se:1" in key)
    start = text.index(key)
    path = tmp_path / "164.yaml"
    path.write_text(text[:start] + text[text.index("std", start) :].split("\n", 1)[1], encoding="utf-8")
    with pytest.raises(TableError, match=rf"164\.yaml: the key {key} is missing, which mobilenet_v3_w1\.2"):
        import_lookup_tables([path], SPACE, name="phone", origin=ORIGIN)


def test_two_files_of_one_resolution_are_refused(files: list[Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy.yaml"
    copy.write_bytes(files[0].read_bytes())
    with pytest.raises(TableError, match=r"164\.yaml"):
        import_lookup_tables([files[0], copy], SPACE, name="phone", origin=ORIGIN)


def test_a_resolution_that_the_space_lacks_is_refused(files: list[Path]) -> None:
    tiny = SearchSpace.load("tiny")
    with pytest.raises(TableError, match="is about 164 px, which tiny does not have; it has 24, 32"):
        import_lookup_tables(files[:1], tiny, name="phone", origin=ORIGIN)


STEM = "Conv-input:160x160x3-output:80x80x24:\n  mean: 1.0\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds 0 keys Conv-input:RxRx3"),
        (STEM + STEM.replace("160", "164"), "holds 2 keys"),
        (STEM + STEM, ":3: expected a new 'KEY:'"),
        ("  mean: 1.0\n", ":1: expected a new 'KEY:'"),
        (STEM + "  mean: 2.0\n", ":3: expected a new"),
        (STEM + "  best: 2.0\n", ":3: expected a new"),
        (STEM + "- mean\n", ":3: expected a new"),
        (STEM.replace("1.0", "!!python/object:os.system"), ":2: expected a new"),
        (STEM.replace("1.0", "1.0.0"), ":2: expected a number, got '1.0.0'"),
        (STEM.replace("1.0", "1e999"), ":2: expected a number, got '1e999'"),
        (STEM + "Logits:\n  count: 4\n", ": Logits: mean is missing"),
    ],
)
def test_anything_else_than_such_a_file_is_refused_by_line(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "table.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TableError) as refused:
        read_lookup_table(path)
    assert str(refused.value).startswith(str(path))
    assert told in str(refused.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TableError, match="not a text file"):
        read_lookup_table(path)
    with pytest.raises(TableError, match="cannot be read"):
        read_lookup_table(tmp_path / "nothing.yaml")


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("columns", ["size"], "columns: expected resolution, kind"),
        ("rows", [1], "rows: expected one list or more"),
        ("rows", [], "rows: expected one list or more"),
        ("rows", [[164]], r"rows\[0\]: expected 16 values, got 1"),
        ("rows", [["164", *[1] * 15]], r"rows\[0\].resolution: expected an integer"),
        ("files", {"x": 1}, r"files.x: expected a string"),
        ("licence", None, "licence: expected a string"),
    ],
)
def test_a_spoilt_file_is_refused_by_key(
    key: str, value: object, told: str, table: LatencyTable, tmp_path: Path
) -> None:
    path = tmp_path / "phone.json"
    table.save(path)
    document = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(document | {key: value}), encoding="utf-8")
    with pytest.raises(TableError, match=told):
        LatencyTable.load(path)


def test_a_row_stands_there_once(table: LatencyTable, tmp_path: Path) -> None:
    path = tmp_path / "phone.json"
    table.save(path)
    document = json.loads(path.read_text(encoding="utf-8"))
    document["rows"].append(document["rows"][0])
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(TableError, match="twice at one resolution"):
        LatencyTable.load(path)


def test_the_shipped_table_resolves_every_kind_of_subnet() -> None:
    table = LatencyTable.load(SHIPPED)
    assert (table.provenance, table.device.name) == ("imported", "Samsung Note10")
    assert table.published
    assert "Apache-2.0" in table.published.licence
    assert (SHIPPED.parent / "note10.LICENSE.txt").is_file()
    assert SHIPPED.stat().st_size < 300_000
    narrow = table.narrow(SPACE)
    assert narrow.resolutions == tuple(range(160, 225, 4))
    encoding = Encoding.of(narrow)
    genes = encoding.sample(1000, np.random.default_rng(0))
    assert np.isfinite(table.cost_table(encoding).total(genes)).all()
    assert table.latency_ms(SPACE, narrow.smallest) == pytest.approx(9.89, abs=0.01)
    assert table.latency_ms(SPACE, narrow.largest) == pytest.approx(92.40, abs=0.01)


@needs_data
def test_the_shipped_table_is_the_published_one_and_sums_as_published() -> None:
    folder = Path(os.environ["OFA_NAS_DATA"]) / "note10"
    table = LatencyTable.load(SHIPPED)
    for size in (160, 172, 224):
        path = folder / f"{size}_lookup_table.yaml"
        assert table.published
        assert table.published.files[path.name] == read_lookup_table(path).sha256
        for arch in subnets(size, 20):
            assert table.latency_ms(SPACE, arch) == plain_sum(path, arch)
