"""A file that one process changes is not changed by another meanwhile, and no lock is left behind."""

from pathlib import Path
from threading import Thread

import pytest

from ofa_nas.errors import FileError
from ofa_nas.locks import changing


def test_who_changes_a_file_has_it_to_himself(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "count"

    def add() -> None:
        for _ in range(50):
            with changing(path):
                path.write_text(str(int(path.read_text()) + 1 if path.exists() else 1))

    threads = [Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() == "200"
    assert [one.name for one in path.parent.iterdir()] == ["count"]


def test_the_lock_of_a_process_that_was_killed_keeps_nobody_out(tmp_path: Path) -> None:
    (tmp_path / ".file.lock").touch()
    with changing(tmp_path / "file"):
        assert (tmp_path / ".file.lock").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_no_link_that_somebody_laid(tmp_path: Path) -> None:
    (tmp_path / ".file.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileError, match="file: cannot be written"), changing(tmp_path / "file"):
        pass
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.usefixtures("no_locks")
def test_without_locks_nobody_waits(tmp_path: Path) -> None:
    with changing(tmp_path / "file"), changing(tmp_path / "file"):
        pass
    assert list(tmp_path.iterdir()) == []
