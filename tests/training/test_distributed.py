"""Two processes that `torchrun` starts train what one process does."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.multiprocessing.spawn import spawn

import ofa_nas
from ofa_nas.cli.training_run import follow_training
from ofa_nas.errors import ConfigError, LeftAloneError, TrainingError
from ofa_nas.pipeline.training.learning import TrainedSupernet
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.checkpoint import read_tensors
from ofa_nas.supernet.elastic import TRAIN_LARGEST, normalise
from ofa_nas.supernet.processes import together
from ofa_nas.supernet.supernet import Supernet
from ofa_nas.training.distributed import Ranks, join_ranks, leave_ranks
from ofa_nas.training.loop import Checkpointing
from ofa_nas.training.train import Report
from ofa_nas.training.train import train as train_supernet
from tests.small_supernet import write_images
from tests.training.test_step import PROGRESSIVE
from tests.training.test_train import noise, restless

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def start_command(
    output: Path, data: Path, *more: str, launcher: list[str], recipe: str = "sandwich"
) -> subprocess.Popen[str]:
    """Begin to train by the command line."""
    root = Path(ofa_nas.__file__).parents[1]
    space = output.parent / "dropping.toml"  # what is dropped may not depend on the processes either
    tiny = (root / "search_spaces" / "tiny.toml").read_text(encoding="utf-8")
    space.write_text(tiny.replace("dropout = 0.0", "dropout = 0.3"), encoding="utf-8")
    settings = ["-m", "ofa_nas", "train", "--space", str(space), "--device", "cpu", "--recipe", recipe]
    settings += ["--epochs", "5", "--batch-size", "20", "--learning-rate", "0.1", "--random-subnets", "1"]
    command = [sys.executable, *launcher, *settings, "--data", str(data), "--output", str(output), *more]
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit status, and what it said to stderr that was not read yet."""
    with process:
        _, shown = process.communicate()
    return process.returncode, shown


def told(shown: str) -> list[str]:
    """The errors of ours among what `torchrun` and its processes said."""
    return [line for line in shown.splitlines() if line.startswith(("error: ", "internal error: "))]


def train(output: Path, data: Path, *, launcher: list[str], recipe: str) -> list[dict[str, float]]:
    """The same; returns the reports of the steps and epochs."""
    status, shown = finish(start_command(output, data, launcher=launcher, recipe=recipe))
    assert status == 0, shown
    assert "Warning" not in shown
    return [json.loads(line) for line in (output / "history.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["sandwich", pytest.param("progressive", marks=pytest.mark.campaign)])
def test_two_processes_have_the_loss_curve_of_one(recipe: str, tmp_path: Path) -> None:
    data = write_images(tmp_path / "shapes", train=8, val=4)
    one = train(tmp_path / "one", data, launcher=[], recipe=recipe)
    two = train(tmp_path / "two", data, launcher=TORCHRUN, recipe=recipe)
    assert [line["step"] for line in one] == [line["step"] for line in two]
    assert len({line["loss"] for line in one}) > 3  # it does learn something
    for alone, shared in zip(one, two, strict=True):
        assert shared["loss"] == pytest.approx(alone["loss"], rel=1e-4)
    weights = [read_tensors(tmp_path / name / "checkpoint.safetensors") for name in ("one", "two")]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-2, atol=1e-3, msg=name)


def resume_between(rank: int, folder: Path) -> None:
    """One of two processes: train as a whole, and in two parts."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    ranks, space = Ranks(rank, 2), SearchSpace.load("tiny")
    parts = Checkpointing(folder / "parts")
    for checkpointing, until in (
        (Checkpointing(folder / "whole"), 9),
        (parts, 5),
        (replace(parts, resume=True), 9),
    ):
        supernet = restless(space) if not checkpointing.resume else Supernet(space)
        with torch.no_grad():
            for value in supernet.parameters():
                value.add_(rank)  # the first one's weights are those of all
        with closing(
            train_supernet(supernet, noise(space), PROGRESSIVE, checkpointing=checkpointing, ranks=ranks)
        ) as reports:
            for report in reports:
                if report.step == until and until < 9:
                    break
        dist.barrier()  # the first one has written
    dist.destroy_process_group()


def test_batch_norm_of_all_processes_learns_the_statistics_that_torch_does(tmp_path: Path) -> None:
    x = torch.randn(4, 6, 1, 1, generator=torch.Generator().manual_seed(0))
    own, stock = nn.BatchNorm2d(6), nn.BatchNorm2d(6)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        found = normalise(x, own, replace(TRAIN_LARGEST, is_global=True))
    finally:
        dist.destroy_process_group()
    torch.testing.assert_close(found, normalise(x, stock, TRAIN_LARGEST))
    torch.testing.assert_close(own.state_dict(), stock.state_dict())


def test_batch_norm_of_all_processes_holds_where_channels_hardly_vary(tmp_path: Path) -> None:
    bn = nn.BatchNorm2d(64)
    x = 1000 + torch.randn(8, 64, 4, 4, generator=torch.Generator().manual_seed(0)) * 1e-3
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        found = normalise(x, bn, replace(TRAIN_LARGEST, is_global=True))
    finally:
        dist.destroy_process_group()
    assert found.isfinite().all()
    assert bn.running_var is not None
    assert (bn.running_var >= 0.9).all()


@pytest.mark.slow
def test_two_processes_resume_to_where_they_would_have_come(tmp_path: Path) -> None:
    spawn(resume_between, (tmp_path,), nprocs=2)  # type: ignore[no-untyped-call]
    whole, parts = (read_tensors(tmp_path / name) for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-5, atol=1e-5, msg=name)


@pytest.mark.slow
def test_what_the_first_process_refuses_is_told_once(tmp_path: Path) -> None:
    data = write_images(tmp_path / "shapes", train=2, val=2)
    torn = data / "train" / "class_3" / "1.png"  # its header is whole: it is found when it is decoded
    torn.write_bytes(torn.read_bytes()[:1000])
    status, shown = finish(start_command(tmp_path / "run", data, launcher=TORCHRUN))
    assert status == 1
    assert told(shown) == [f"error: {torn}: corrupt image: image file is truncated"]


@pytest.mark.campaign
@pytest.mark.parametrize(
    ("more", "error"),
    [
        (("--batch-size", "19"), "--batch-size 19: 2 processes share it equally, 2 images or more each"),
        (("--learning-rate", "1e20"), "the loss is nan at step "),
    ],
)
def test_what_every_process_would_refuse_is_told_once(
    more: tuple[str, ...], error: str, tmp_path: Path
) -> None:
    data = write_images(tmp_path / "shapes", train=2, val=2)
    status, shown = finish(start_command(tmp_path / "run", data, *more, launcher=TORCHRUN))
    assert status == 1
    (line,) = told(shown)
    assert line.startswith(f"error: {error}")


@pytest.mark.slow
def test_who_is_left_alone_says_how_the_training_goes_on(tmp_path: Path) -> None:
    data = write_images(tmp_path / "shapes", train=4, val=2)
    often = ("--checkpoint-minutes", "0")
    process = start_command(tmp_path / "run", data, *often, launcher=TORCHRUN)
    assert process.stderr is not None
    assert next(line for line in process.stderr if line.startswith("epoch 1.00"))
    os.kill(rank_of(process.pid, 1), signal.SIGKILL)
    status, shown = finish(process)
    assert status == 1
    checkpoint = tmp_path / "run" / "checkpoint.safetensors"
    (line,) = told(shown)
    assert line.startswith("error: another process of this training ended (")
    assert line.endswith(f"); the same command with --resume goes on from {checkpoint}")
    status, shown = finish(start_command(tmp_path / "run", data, *often, "--resume", launcher=[]))
    assert status == 0, shown
    assert "epoch 1.00" not in shown


def rank_of(launcher: int, rank: int) -> int:
    """Process id of one of those that a `torchrun` started."""
    for task in Path(f"/proc/{launcher}/task").iterdir():
        for child in (task / "children").read_text().split():
            if f"\0RANK={rank}\0" in Path(f"/proc/{child}/environ").read_text():
                return int(child)
    raise AssertionError(f"{launcher} has no process of rank {rank}")


def stop_one(rank: int, folder: Path) -> None:
    """One of two processes that train, of which the second one alone is told to end after its third step."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    ranks, space, seen = Ranks(rank, 2), SearchSpace.load("tiny"), [0]
    checkpointing = Checkpointing(folder / "state")
    reports = train_supernet(
        restless(space), noise(space), PROGRESSIVE, checkpointing=checkpointing, ranks=ranks
    )

    def watched() -> Generator[Report, None, None]:
        with closing(reports):
            for report in reports:
                seen[0] = report.step
                if rank == 1 and report.step == 3:
                    os.kill(os.getpid(), signal.SIGTERM)
                yield report

    with pytest.raises(KeyboardInterrupt):
        follow_training(
            watched(),
            TrainedSupernet,
            show=lambda *_: None,
            title="training",
            stopped="",
            quiet=True,
            ranks=ranks,
        )
    (folder / f"stopped{rank}").write_text(str(seen[0]))
    dist.destroy_process_group()


@pytest.mark.slow
def test_processes_stop_after_the_same_step_though_one_alone_is_told(tmp_path: Path) -> None:
    spawn(stop_one, (tmp_path,), nprocs=2)  # type: ignore[no-untyped-call]
    assert [(tmp_path / f"stopped{rank}").read_text() for rank in (0, 1)] == ["3", "3"]
    assert (tmp_path / "state").exists()


def test_processes_on_cuda_wait_and_agree_on_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No CUDA device is here: gloo stands in for NCCL, and is told the device that NCCL would be."""
    joined: list[object] = []
    join = dist.init_process_group

    def stand_in(backend: str, **how: object) -> None:
        joined.extend((backend, how["device_id"]))
        join("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)

    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "run")
    monkeypatch.setattr(dist, "init_process_group", stand_in)
    monkeypatch.setattr(torch.cuda, "set_device", joined.append)
    device = torch.device("cuda:1")
    try:
        ranks = join_ranks(device)
        assert joined == [device, "cpu:gloo,cuda:nccl", device]
        two = replace(ranks, count=2)
        two.wait()
        assert [two.agree(asks) for asks in (False, True)] == [False, True]
    finally:
        leave_ranks()


NCCL_SAYS = """NCCL error in: NCCLUtils.cpp:94, invalid usage
ncclInvalidUsage: This usually reflects invalid usage of NCCL library.
Last error:
Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 1000"""


@pytest.mark.parametrize(
    ("said", "error", "told"),
    [
        (
            "[pair.cc:534] Connection closed by peer [127.0.0.1]:2665. More",
            LeftAloneError,
            "another process of this training ended (Connection closed by peer [127.0.0.1]:2665)",
        ),
        (
            NCCL_SAYS,
            TrainingError,
            f"the processes cannot train together: {NCCL_SAYS.splitlines()[0]} … {NCCL_SAYS.splitlines()[3]}",
        ),
        ("", TrainingError, "the processes cannot train together: RuntimeError"),
    ],
)
def test_only_who_is_gone_is_told_to_be(said: str, error: type[TrainingError], told: str) -> None:
    with pytest.raises(TrainingError) as found, together():
        raise RuntimeError(said)
    assert (type(found.value), str(found.value)) == (error, told)


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(ConfigError, match="--batch-size 21: 2 processes share it equally, 2 images or more"):
        Ranks(0, 2).check(21)
    with pytest.raises(ConfigError, match="--batch-size 2: 2 processes"):
        Ranks(0, 2).check(2)
    Ranks(0, 2).check(4)


def test_shares_of_a_batch_are_all_of_it() -> None:
    rows = list(range(12))
    assert [rows[Ranks(rank, 3).share(12)] for rank in range(3)] == [rows[:4], rows[4:8], rows[8:]]
    assert rows[Ranks().share(12)] == rows
