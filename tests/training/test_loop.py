"""When a checkpoint is written, counted by a clock that the test turns."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from ofa_nas.training import loop


@pytest.mark.parametrize(
    ("minutes", "saved"), [(0.0, [1, 2, 3, 4, 5, 6, 6]), (1.5, [2, 4, 6, 6]), (4.0, [5, 6]), (60.0, [6])]
)
def test_checkpoints_come_after_so_many_minutes_and_at_the_end(
    minutes: float, saved: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = 0
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: 60.0 * done))

    def steps() -> Iterator[int]:
        nonlocal done
        while done < 6:  # of a minute each
            done += 1
            yield done

    found: list[int] = []
    assert list(loop.keep(steps(), lambda: found.append(done), minutes=minutes)) == [1, 2, 3, 4, 5, 6]
    assert found == saved
