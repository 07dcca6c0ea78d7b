"""What a command chooses of torch."""

import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ofa_nas.cli.torch_process import pick_device, prepare_torch
from ofa_nas.devices import agent
from ofa_nas.errors import ConfigError


@pytest.mark.parametrize("name", ["nonsense", "mps", "cuda:99", "cpu:x", ""])
def test_a_device_that_is_not_here_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^--device {name}: (expected auto, cpu, cuda|torch sees \d+)"):
        pick_device(name)


def test_devices_by_name() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type in ("cpu", "cuda")


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_each_of_several_processes_has_a_device_of_its_own(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert pick_device(name) == torch.device("cuda:0")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert pick_device(name) == torch.device("cuda:1")
    assert pick_device("cuda:0") == torch.device("cuda:0")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert pick_device(name) == torch.device("cuda:1")
    with pytest.raises(
        ConfigError, match=r"^--device cuda:0: each process of torchrun has a CUDA device of its"
    ):
        pick_device("cuda:0")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ConfigError, match=rf"^--device {name}: torch sees 2 CUDA devices here, and this is"):
        pick_device(name)


@pytest.mark.parametrize(("asked", "own", "used"), [(None, 4, 2), (None, 1, 1), (3, 4, 3)])
def test_torch_has_no_more_threads_than_a_quota_leaves_it(
    asked: int | None, own: int, used: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text("150000 100000\n", encoding="ascii")
    (tmp_path / "own").write_text("0::/\n", encoding="ascii")
    monkeypatch.setattr(agent, "OWN_CGROUPS", str(tmp_path / "own"))
    monkeypatch.setattr(agent, "CGROUPS", str(tmp_path))
    monkeypatch.setattr(agent, "_own_cores", lambda: set(range(8)))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(own)
        prepare_torch(threads=asked, is_lean=True)
        assert torch.get_num_threads() == used
    finally:
        torch.set_num_threads(before)


FAULTS = """
import resource, sys
import numpy as np
from ofa_nas.cli.torch_process import prepare_process
if "prepared" in sys.argv:
    prepare_process()
for count in range(6):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = np.ones(2**23)
    del block
    after = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print(after - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is told to")
def test_a_process_that_is_prepared_faults_a_large_block_in_only_once() -> None:
    def faults(*arguments: str) -> int:
        command = [sys.executable, "-c", FAULTS, *arguments]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert faults() > 16
    assert faults("prepared") <= 4


@pytest.mark.parametrize("work", ["pretrain", "transfer", "prune"])
def test_commands_of_one_process_are_refused_under_torchrun(
    work: str, refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    start = [] if work == "pretrain" else ["--from", "smallest"]
    line = refused(work, *start, "--data", tmp_path, "--output", tmp_path / "run")
    assert f"{work} runs in one process, on one device: start it without torchrun" in line
    assert list(tmp_path.iterdir()) == []
