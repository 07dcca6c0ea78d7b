"""Valid samples of every kind of file, made once; each test copies what it spoils."""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hardening.samples import make_samples
from tests.small_supernet import SmallSupernet

ROOM = 3 << 30  # bytes that a test may gain


@pytest.fixture(scope="session")
def samples(small: SmallSupernet, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Paths by the names of the readers."""
    return make_samples(small, tmp_path_factory.mktemp("samples"))


@pytest.fixture(autouse=True)
def bounded_memory() -> Iterator[None]:
    """A flood ends in a MemoryError, not in the machine's."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)
