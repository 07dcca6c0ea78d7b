"""Files are replaced whole or not at all."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofa_nas.assets import OWN_CACHE
from ofa_nas.errors import CheckpointError, FileError, TableError
from ofa_nas.files import (
    check_folder_writable,
    check_version,
    check_writable,
    moving_together,
    parse_json,
    read_json,
    replacing,
    write_bytes,
    write_json,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(document=st.dictionaries(st.text(), JSON, max_size=4))
def test_what_is_written_is_read(
    document: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("json") / "document.json"
    write_json(path, document)
    assert read_json(path, error=FileError) == document
    assert path.read_bytes().endswith(b"}\n")


def test_folders_above_are_made(tmp_path: Path) -> None:
    write_bytes(tmp_path / "one" / "two" / "file", b"content")
    assert (tmp_path / "one" / "two" / "file").read_bytes() == b"content"


def test_files_that_belong_together_appear_together_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "one" / "two"

    def write(*, breaks: bool) -> None:
        with moving_together(folder) as temporary:
            (temporary / "first").write_text("first")
            assert not (folder / "first").exists()
            if breaks:
                raise KeyboardInterrupt
            (temporary / "second").write_text("second")

    with pytest.raises(KeyboardInterrupt):
        write(breaks=True)
    assert list(folder.iterdir()) == []
    write(breaks=False)
    assert sorted(path.name for path in folder.iterdir()) == ["first", "second"]
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(FileError, match="file/in: cannot be written to"),
        moving_together(tmp_path / "file" / "in"),
    ):
        pass


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_write_leaves_the_old_file_alone(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def write_half() -> None:
        with replacing(path) as temporary:
            temporary.write_bytes(b"new, but ha")
            assert temporary.parent == tmp_path  # a rename across file systems is no rename
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")
    with replacing(path) as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_the_new_file_is_on_the_disk_before_it_takes_the_place_of_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "file", []
    write_bytes(path, b"old")
    monkeypatch.setattr(os, "fsync", lambda file: synced.append((os.fstat(file).st_size, path.read_bytes())))
    write_bytes(path, b"newer")
    assert synced == [(5, b"old")]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_follow_the_umask(mask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        with replacing(tmp_path / "file") as temporary:
            temporary.touch(mode=0o600)
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(0o600)
    (tmp_path / "link").symlink_to("file")
    for name, mode in (("file", 0o600), ("link", 0o666 & ~umask())):
        write_bytes(tmp_path / name, b"new")
        assert stat.S_IMODE((tmp_path / name).lstat().st_mode) == mode


def umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("text", ["1" * 400 + ".0", "1" * 250 + ".0e99", "1e999", "-" + "9" * 310 + ".5"])
def test_a_number_that_no_float_holds_is_no_json(text: str) -> None:
    with pytest.raises(ValueError, match=r"1 is no number|9 is no number|1e999 is no number"):
        parse_json(f'{{"a": {text}}}')
    assert parse_json(b"1" * 300 + b".0") == float("1" * 300)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"in the way")
    with pytest.raises(FileError, match=r"file/below/it: cannot be written: "):
        write_bytes(tmp_path / "file" / "below" / "it", b"")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["", ".", "folder", "x" * 250])
def test_a_name_that_is_no_file_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileError, match="cannot be written: "):
        write_bytes(Path(name), b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(FileError, match="file: cannot be written: Permission denied"):
            write_bytes(tmp_path / "file", b"")
    finally:
        tmp_path.chmod(0o700)


FULL_DISK = """
import resource, sys
from pathlib import Path
import torch
from ofa_nas.assets import OWN_CACHE
from ofa_nas.errors import FileError
from ofa_nas.files import replacing, write_bytes
from ofa_nas.supernet.checkpoint import write_tensors
path = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))  # as if the disk were full after that
try:
    if sys.argv[2] == "tensors":
        with replacing(path) as temporary:
            write_tensors(temporary, {"weight": torch.zeros(10_000)})
    else:
        write_bytes(path, bytes(10_000))
except FileError as error:
    sys.exit(f"refused: {error}")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no such limits")
@pytest.mark.parametrize("what", ["bytes", "tensors"])
def test_a_full_disk_is_an_error_that_leaves_the_old_file(what: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    command = [sys.executable, "-c", FULL_DISK, str(path), what]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr.startswith(f"refused: {path}: cannot be written: "), done.stderr
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        (b"", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b'{"a": ', "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[1, 2]", "expected a JSON object, got list"),
        (b"null", "expected a JSON object, got NoneType"),
    ],
)
@pytest.mark.parametrize("error", [CheckpointError, TableError])
def test_what_is_no_json_object_is_refused_in_the_class_of_the_caller(
    content: bytes | None, message: str, error: type[FileError], tmp_path: Path
) -> None:
    path = tmp_path / "document.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match=rf"document\.json: {message}"):
        read_json(path, error=error)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", r"--output \.: cannot be written: it names no file"),
        ("folder", "--output folder: cannot be written: it is a folder; give the name of a file in it"),
        ("file/below/it", "cannot be written: file is no folder; give a place below a folder"),
        ("dangling/below", "cannot be written: dangling is no folder"),
        ("pipe", "cannot be written: it is no regular file; give another name"),
        ("x" * 250, "cannot be written: File name too long"),
        ("table.txt", r"cannot be written: expected the name of a \.json file"),
    ],
)
def test_what_cannot_be_written_is_found_before_the_work(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("file").touch()
    Path("dangling").symlink_to("nowhere")
    os.mkfifo("pipe")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(FileError, match=message):
        check_writable(Path(name), option="--output", suffix=".json" if name == "table.txt" else "")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_may_not_be_written_is_found_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, _: path != tmp_path)  # root may write everywhere
    message = f"^{tmp_path}/a/b: cannot be written: no permission to write into {tmp_path}; give a folder"
    with pytest.raises(FileError, match=message):
        check_writable(tmp_path / "a" / "b")
    with pytest.raises(FileError, match=message):
        check_folder_writable(tmp_path / "a" / "b")
    with pytest.raises(FileError, match=r"; set XDG_CACHE_HOME to a folder of your own$"):
        check_writable(tmp_path / "a" / "b", advice=OWN_CACHE)


def test_what_can_be_written_is_let_through_and_nothing_is_made(tmp_path: Path) -> None:
    write_bytes(tmp_path / "old", b"")
    (tmp_path / "link").symlink_to("old")
    for name in ("new", "old", "link", "one/two/file"):
        check_writable(tmp_path / name)
    for name in ("", "one/two"):
        check_folder_writable(tmp_path / name)
    assert {path.name for path in tmp_path.iterdir()} == {"old", "link"}
    with pytest.raises(FileError, match=r"--output .*/old: cannot be written: .*/old is no folder"):
        check_folder_writable(tmp_path / "old", option="--output")


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (4, "a.json: v 4: made by a newer ofa-nas; this one reads 3: update ofa-nas"),
        (10**300, "made by a newer ofa-nas"),
        (2, "a.json: v 2: made by an older ofa-nas; this one reads 3: make it again"),
        (-1, "a.json: v: expected 3, got -1"),
        (True, "a.json: v: expected 3, got True"),
        (3.0, "a.json: v: expected 3, got 3.0"),
        (None, "a.json: v: expected 3, got nothing"),
    ],
)
def test_a_file_of_another_version_is_refused_by_its_age(found: object, message: str) -> None:
    with pytest.raises(TableError, match=message):
        check_version({"v": found}, "v", reads=3, where="a.json", error=TableError, again="make it again")


def test_a_file_of_the_version_that_is_read_is_taken() -> None:
    check_version({"v": 3}, "v", reads=3, where="a.json", error=TableError, again="make it again")
