"""One thread a test (xdist has the cores), no file of the user's touched, the same examples every time."""

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # read when numpy and torch are imported, so before anything else here

import errno
import signal
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from hypothesis import HealthCheck, settings

from ofa_nas.space.encoding import Encoding
from ofa_nas.space.search_space import SearchSpace
from tests.postgresql import Server, running_server

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

    from tests.small_supernet import SmallSupernet

settings.register_profile(
    "gate",
    deadline=None,  # time is never asserted
    derandomize=True,
    database=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("gate")
# A shell's background job ignores Ctrl-C, and one under nohup a closed terminal. So would all processes that
# tests start and interrupt.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)


def pytest_xdist_auto_num_workers() -> int:
    """Half as many again as there are cores: many tests wait for processes that they started."""
    return len(os.sched_getaffinity(0)) * 3 // 2


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> "LoadScopeScheduling":
    """Keep the tests of a file with a fixture of its own in one process: each process would make it anew."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduler(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file if _has_module_fixture(config.rootpath / file) else nodeid

    return Scheduler(config, log)


@cache
def _has_module_fixture(file: Path) -> bool:
    return 'scope="module"' in file.read_text(encoding="utf-8")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a CUDA device where there is none."""
    needing = [item for item in items if item.get_closest_marker("gpu")]
    if needing:
        import torch

        if not torch.cuda.is_available():
            for item in needing:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, and a place of its own for the lock of whoever measures here."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture(scope="session")
def tiny() -> SearchSpace:
    return SearchSpace.load("tiny")


@pytest.fixture(scope="session")
def few() -> Path:
    """File of a search space of six architectures, the fewest of which a latency table can be made."""
    return Path(__file__).parent / "few.toml"


@pytest.fixture(scope="session")
def encoding(tiny: SearchSpace) -> Encoding:
    return Encoding.of(tiny)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A PostgreSQL server; skips the test where there is none."""
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> "SmallSupernet":
    """A supernet of `tiny`, really trained for a few seconds, with its predictor and its images."""
    from tests.small_supernet import make_small_supernet

    return make_small_supernet(tmp_path_factory.mktemp("small"))


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no file locked, as on some network file systems."""
    import fcntl

    def refuse(*_: object) -> NoReturn:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(fcntl, "lockf", refuse)


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Writes a plug-in that is trusted; gives its dotted path, another each time: modules load once."""
    package = tmp_path / f"lab_{tmp_path.name.replace('-', '_')}"
    package.mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("OFA_NAS_PLUGINS", package.name)

    def write(text: str) -> str:
        name = f"plugin{len(list(package.glob('*.py')))}"
        (package / f"{name}.py").write_text(text, encoding="utf-8")
        return f"{package.name}.{name}"

    return write
