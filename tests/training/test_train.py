"""Training: what a step does, that it learns, and that nothing is lost when it stops."""

import json
import math
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

import ofa_nas
from ofa_nas.data import Normalization
from ofa_nas.data.packed import PackedImages
from ofa_nas.errors import CheckpointError, DataError, TrainingError
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.checkpoint import read_tensors
from ofa_nas.supernet.elastic import EVALUATE, TRAIN, TRAIN_LARGEST, ElasticConvolution, ElasticLinear, Mode
from ofa_nas.supernet.supernet import Supernet
from ofa_nas.supernet_card import SupernetCard
from ofa_nas.training.batches import Batches
from ofa_nas.training.loop import Checkpointing, StepReport
from ofa_nas.training.recipe import Recipe
from ofa_nas.training.splits import TrainingData
from ofa_nas.training.state import RateChange
from ofa_nas.training.train import EpochReport, Report, train
from tests.small_supernet import RECIPE, SANDWICH, SmallSupernet, write_images
from tests.supernet.test_supernet import lively_supernet

SHORT = Recipe("short", (SANDWICH,), batch_size=8)
ONE_STEP = Recipe(
    "one step", (replace(SANDWICH, epochs=1.0),), batch_size=24, weight_decay=0.0, clip_norm=0.0
)


@dataclass(frozen=True, slots=True)
class Call:
    """One forward pass of a supernet."""

    x: Tensor
    arch: Architecture
    mode: Mode


class WatchedSupernet(Supernet):
    """A supernet that remembers what it was run on."""

    def __init__(self, space: SearchSpace) -> None:
        super().__init__(space)
        self.load_state_dict(restless(space).state_dict())
        self.calls: list[Call] = []

    def forward(self, x: Tensor, arch: Architecture, mode: Mode = EVALUATE) -> Tensor:
        if mode is not EVALUATE:
            self.calls.append(Call(x, arch, mode))
        return super().forward(x, arch, mode)


def restless(space: SearchSpace) -> Supernet:
    """A supernet all of whose parameters, biases too, differ from zero."""
    supernet = lively_supernet(space)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in supernet.named_parameters():
            if name.endswith("bias"):
                parameter.uniform_(0.1, 0.2, generator=generator)
    return supernet


def with_dropout(space: SearchSpace, rate: float) -> SearchSpace:
    return replace(space, head=replace(space.head, dropout=rate))


def noise(space: SearchSpace, count: int = 24) -> TrainingData:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    names = tuple(f"class {index}" for index in range(space.classes))
    packed = PackedImages(images, rng.integers(0, space.classes, count), names)
    return TrainingData(packed, packed, images[:16], Normalization())


def run(supernet: Supernet, recipe: Recipe, checkpoint: Path, *, resume: bool = False) -> Iterator[Report]:
    data = noise(supernet.space)
    checkpointing = Checkpointing(checkpoint, resume, minutes=0.0)
    return train(supernet, data, recipe, checkpointing=checkpointing)


def test_training_learns(small: SmallSupernet) -> None:
    assert small.losses[0] == pytest.approx(math.log(10), abs=0.3)
    assert np.mean(small.losses[-10:]) < 0.75 * small.losses[0]
    last = small.trained.history[-1]
    assert min(last.smallest, last.middle, last.largest) > 0.3  # chance is 0.1


def test_reports_come_once_a_step_and_once_an_epoch(small: SmallSupernet) -> None:
    assert len(small.losses) == RECIPE.total_steps(400) == 80
    assert [report.epoch for report in small.trained.history] == list(range(1, 9))
    assert [report.step for report in small.trained.history] == list(range(10, 90, 10))


def test_a_part_of_an_epoch_ends_in_a_report(tiny: SearchSpace, tmp_path: Path) -> None:
    reports = list(
        run(
            restless(tiny),
            Recipe("short", (replace(SANDWICH, epochs=1.5),), batch_size=8),
            tmp_path / "state",
        )
    )
    epochs = [(report.step, report.epoch) for report in reports if isinstance(report, EpochReport)]
    assert epochs == [(3, 1.0), (4, pytest.approx(4 / 3))]


def test_a_step_descends_the_summed_gradients_of_its_subnets(tiny: SearchSpace, tmp_path: Path) -> None:
    recipe = replace(ONE_STEP, phases=(replace(SANDWICH, epochs=1.0, random_subnets=2),))
    supernet = WatchedSupernet(tiny)
    list(run(supernet, recipe, tmp_path / "state"))
    first, second, *others = supernet.calls
    size = first.arch.resolution
    assert first.arch == replace(tiny.largest, resolution=size)
    assert second.arch == replace(tiny.smallest, resolution=size)
    assert [call.mode for call in supernet.calls] == [TRAIN_LARGEST, TRAIN, TRAIN, TRAIN]
    assert len(others) == 2
    assert all(call.arch.resolution == size and torch.equal(call.x, first.x) for call in supernet.calls)

    plain = restless(tiny)
    labels = torch.from_numpy(noise(tiny).train.labels)  # one batch is all images, in order
    logits = plain(first.x, first.arch, TRAIN_LARGEST)
    loss = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
    teacher = logits.detach().softmax(dim=1)
    for call in (second, *others):
        loss = loss + F.cross_entropy(plain(call.x, call.arch, TRAIN), teacher)
    loss.backward()  # type: ignore[no-untyped-call]
    rate = recipe.position(0, 24).learning_rate * (1.0 + recipe.momentum)  # Nesterov's first step
    found = dict(supernet.named_parameters())
    for name, parameter in plain.named_parameters():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(found[name], parameter - rate * gradient, rtol=1e-4, atol=1e-6)


def test_the_gradient_is_clipped_to_its_norm(tiny: SearchSpace, tmp_path: Path) -> None:
    supernet = restless(tiny)
    before = parameters_to_vector(supernet.parameters()).detach()
    recipe = replace(ONE_STEP, clip_norm=0.1)
    list(run(supernet, recipe, tmp_path / "state"))
    moved = parameters_to_vector(supernet.parameters()).detach() - before
    expected = 0.1 * recipe.position(0, 24).learning_rate * (1.0 + recipe.momentum)
    assert float(moved.norm()) == pytest.approx(expected, rel=0.01)


def test_weights_decay_but_norms_biases_and_transforms_do_not(tiny: SearchSpace, tmp_path: Path) -> None:
    states = []
    for decay in (0.0, 0.1):
        supernet = restless(tiny)
        list(run(supernet, replace(ONE_STEP, weight_decay=decay), tmp_path / "state"))
        states.append(dict(supernet.named_parameters()))
    decayed = {name for name, value in states[0].items() if not torch.equal(value, states[1][name])}
    weights = {
        f"{name}.weight"
        for name, module in restless(tiny).named_modules()
        if isinstance(module, ElasticConvolution | ElasticLinear | nn.Conv2d | nn.Linear)
    }
    assert decayed == weights
    assert any(".transforms." in name for name in states[0])


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_resuming_continues_bit_for_bit(dropout: float, tiny: SearchSpace, tmp_path: Path) -> None:
    space = with_dropout(tiny, dropout)
    whole, halved = tmp_path / "whole", tmp_path / "halved"
    list(run(restless(space), SHORT, whole))
    for report in run(restless(space), SHORT, halved):
        if isinstance(report, StepReport) and report.step == 5:  # closing the stream writes a checkpoint
            break
    resumed = Supernet(space, torch.Generator().manual_seed(99))
    reports = list(run(resumed, SHORT, halved, resume=True))
    assert isinstance(reports[0], StepReport)
    assert reports[0].step == 6
    assert_same_tensors(whole, halved)


@pytest.mark.parametrize("stop", [3, 6])
def test_an_epoch_that_ended_without_its_report_is_reported_first(
    stop: int, tiny: SearchSpace, tmp_path: Path
) -> None:
    whole = [
        replace(one, elapsed_s=0.0)
        for one in run(restless(tiny), SHORT, tmp_path / "whole")
        if isinstance(one, EpochReport)
    ]
    halved = tmp_path / "halved"
    told: list[Report] = []
    for report in run(restless(tiny), SHORT, halved):
        told.append(report)
        if report.step == stop:  # the last step of an epoch, before the report
            break
    resumed = list(run(Supernet(tiny), SHORT, halved, resume=True))
    assert isinstance(resumed[0], EpochReport)
    epochs = [replace(one, elapsed_s=0.0) for one in (*told, *resumed) if isinstance(one, EpochReport)]
    assert epochs == whole
    assert list(run(Supernet(tiny), SHORT, halved, resume=True)) == []


@pytest.mark.parametrize(
    "due", [3, {}, {"epoch": "x"}, {"epoch": 1, "phase": "a", "loss": 1, "terms": [], "elapsed_s": 1}]
)
def test_an_epoch_that_makes_no_sense_is_refused(due: object, tiny: SearchSpace, tmp_path: Path) -> None:
    path = tmp_path / "state"
    list(run(restless(tiny), ONE_STEP, path))
    change_meta(path, lambda meta: meta.update(due=due))
    with pytest.raises(CheckpointError, match="state: does not tell of its epoch"):
        list(run(restless(tiny), ONE_STEP, path, resume=True))


def assert_same_tensors(first: Path, second: Path) -> None:
    expected, found = read_tensors(first), read_tensors(second)
    assert expected.keys() == found.keys()
    assert any(name.startswith("momentum:") for name in expected)
    assert [name for name, value in expected.items() if not torch.equal(value, found[name])] == []


@pytest.mark.parametrize(
    ("recipe", "images", "changed"),
    [
        (
            replace(SHORT, phases=(replace(SANDWICH, learning_rate=0.2),)),
            24,
            rf"recipe\.phases\.0\.learning_rate = {SANDWICH.learning_rate}, now it is 0\.2",
        ),
        (
            replace(SHORT, seed=1, label_smoothing=0.5),
            24,
            r"recipe\.label_smoothing = 0\.1, now it is 0\.5; recipe\.seed = 0, now it is 1",
        ),
        (
            replace(SHORT, flip="none", balance=0.5),
            24,
            r"recipe\.flip = horizontal, now it is none; recipe\.balance = 0\.0, now it is 0\.5",
        ),
        (SHORT, 32, r"images = 24, now it is 32; data\.content = \w{16}, now it is \w{16}"),
    ],
)
def test_resuming_with_other_settings_names_what_differs(
    recipe: Recipe, images: int, changed: str, tiny: SearchSpace, tmp_path: Path
) -> None:
    path = tmp_path / "state"
    list(run(restless(tiny), SHORT, path))
    with pytest.raises(CheckpointError, match=rf"state: made with {changed}; resume with the same settings"):
        list(
            train(restless(tiny), noise(tiny, images), recipe, checkpointing=Checkpointing(path, resume=True))
        )


def test_a_balanced_and_flipped_training_resumes_to_where_it_would_have_come(
    tiny: SearchSpace, tmp_path: Path
) -> None:
    recipe = replace(SHORT, balance=0.8, flip="both", brightness=0.3)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    list(run(restless(tiny), recipe, whole))
    for report in run(restless(tiny), recipe, parts):
        if report.step == 4:  # in the second epoch
            break
    list(run(Supernet(tiny), recipe, parts, resume=True))
    assert_same_tensors(whole, parts)
    plain = tmp_path / "plain"
    list(run(restless(tiny), SHORT, plain))
    trained, otherwise = read_tensors(whole), read_tensors(plain)
    assert any(not torch.equal(value, otherwise[name]) for name, value in trained.items())
    with pytest.raises(CheckpointError, match=r"recipe\.balance = 0\.8, now it is 0\.0"):
        list(run(Supernet(tiny), replace(recipe, balance=0.0), parts, resume=True))


def resume_with(train_images: PackedImages, space: SearchSpace, path: Path) -> None:
    data = replace(noise(space), train=train_images)
    list(train(restless(space), data, SHORT, checkpointing=Checkpointing(path, resume=True)))


def test_resuming_with_other_data_is_refused(tiny: SearchSpace, tmp_path: Path) -> None:
    path, images = tmp_path / "state", noise(tiny).train
    list(run(restless(tiny), SHORT, path))
    first, second, *others = images.class_names
    with pytest.raises(
        CheckpointError,
        match=r"data\.classes\.0 = class 0, now it is class 1; data\.classes\.1 = class 1, now it is class 0",
    ):
        resume_with(replace(images, class_names=(second, first, *others)), tiny, path)
    for changed in (
        replace(images, labels=images.labels[::-1].copy()),
        replace(images, images=255 - images.images),
    ):
        with pytest.raises(
            CheckpointError, match=r"made with data\.content = \w{16}, now it is \w{16}; resume"
        ):
            resume_with(changed, tiny, path)
    with pytest.raises(
        CheckpointError, match=r"made with data\.image_size = 32, now it is 16; data\.content"
    ):
        resume_with(replace(images, images=images.images[:, ::2, ::2]), tiny, path)
    resume_with(replace(images, images=images.images.copy()), tiny, path)


def test_a_checkpoint_that_does_not_tell_of_its_data_can_be_resumed(
    tiny: SearchSpace, tmp_path: Path
) -> None:
    path = tmp_path / "state"
    list(run(restless(tiny), SHORT, path))
    change_meta(path, lambda meta: meta.pop("data"))
    list(run(restless(tiny), SHORT, path, resume=True))


def change_meta(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what a checkpoint says of itself."""
    with safe_open(path, framework="pt") as file:
        meta = json.loads(file.metadata()["training"])
    change(meta)
    save_file(read_tensors(path), path, metadata={"training": json.dumps(meta)})


def test_resuming_from_another_start_is_refused(tiny: SearchSpace, tmp_path: Path) -> None:
    path, data = tmp_path / "state", noise(tiny)
    list(train(restless(tiny), data, SHORT, checkpointing=Checkpointing(path, start="a network")))
    again = Checkpointing(path, resume=True, start="random weights")
    with pytest.raises(CheckpointError, match="made with start = a network, now it is random weights"):
        list(train(restless(tiny), data, SHORT, checkpointing=again))
    again = replace(again, start="a network")
    other = replace(data, normalization=Normalization((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)))
    with pytest.raises(CheckpointError, match=r"made with normalization\.mean\.0 = 127\.0, now it is 1\.0; "):
        list(train(restless(tiny), other, SHORT, checkpointing=again))


@pytest.mark.parametrize("content", [None, b"", b"junk" * 100])
def test_nothing_to_resume_from_is_named(content: bytes | None, tiny: SearchSpace, tmp_path: Path) -> None:
    path = tmp_path / "state"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"state: (cannot be read|not a safetensors file)"):
        list(run(restless(tiny), SHORT, path, resume=True))


def test_weights_that_are_no_checkpoint_are_refused(small: SmallSupernet, tiny: SearchSpace) -> None:
    with pytest.raises(CheckpointError, match=r"supernet\.safetensors: not the checkpoint of a training"):
        list(run(restless(tiny), SHORT, small.files.weights, resume=True))


def wildly(learning_rate: float) -> Recipe:
    phase = replace(SANDWICH, epochs=20.0, learning_rate=learning_rate, warmup=0.0)
    return replace(SHORT, phases=(phase,), clip_norm=0.0)


def test_a_diverging_loss_stops_with_step_and_rate(tiny: SearchSpace, tmp_path: Path) -> None:
    wild = wildly(1e12)
    with pytest.raises(
        TrainingError, match=r"(the loss is nan|a weight is not finite) at step \d+, learning rate 1e\+12"
    ) as caught:
        list(run(restless(tiny), wild, tmp_path / "state"))
    assert str(tmp_path / "state") in str(caught.value)


def test_a_resume_may_give_another_learning_rate_and_nothing_else(tiny: SearchSpace, tmp_path: Path) -> None:
    path = tmp_path / "state"
    wild = wildly(1e3)
    next(run(restless(tiny), wild, path))  # closing it writes a checkpoint
    seldom = Checkpointing(path, resume=True)
    with pytest.raises(
        TrainingError, match=r"; the same command with --resume --learning-rate 100 goes on from .*state$"
    ):
        list(train(restless(tiny), noise(tiny), wild, checkpointing=seldom))
    calm = replace(wild, phases=(replace(wild.phases[0], learning_rate=0.01),))
    given = Checkpointing(path, resume=True, has_own_rate=True)
    with pytest.raises(
        CheckpointError, match=r"made with recipe\.phases\.0\.learning_rate = 1000\.0, now it is 0\.01"
    ):
        list(run(restless(tiny), calm, path, resume=True))
    with pytest.raises(CheckpointError, match=r"made with recipe\.seed = 0, now it is 1; resume"):
        list(train(restless(tiny), noise(tiny), replace(calm, seed=1), checkpointing=given))
    changed, first, *_, last = train(restless(tiny), noise(tiny), calm, checkpointing=given)
    assert changed == RateChange(2, before=1e3, learning_rate=0.01)
    assert isinstance(first, StepReport)
    assert first.learning_rate == calm.position(1, 24).learning_rate
    assert last.step == calm.total_steps(24)
    assert list(run(restless(tiny), calm, path, resume=True)) == [changed]  # it is told for ever


def test_phases_keep_their_ratio_when_a_resume_changes_the_rate(tiny: SearchSpace, tmp_path: Path) -> None:
    path, phase = tmp_path / "state", replace(SANDWICH, epochs=1.0)
    recipe = replace(SHORT, phases=(phase, replace(phase, learning_rate=0.01)))
    list(run(restless(tiny), recipe, path))
    given = Checkpointing(path, resume=True, has_own_rate=True)
    other = replace(recipe, phases=(replace(phase, learning_rate=0.2), recipe.phases[1]))
    with pytest.raises(
        CheckpointError, match=r"state: made with learning rates \[0\.1, 0\.01\], whose ratio"
    ):
        list(train(restless(tiny), noise(tiny), other, checkpointing=given))


def test_the_state_before_a_diverging_step_can_be_read(tiny: SearchSpace, tmp_path: Path) -> None:
    for rate in (1e3, 1e6, 1e12, 1e30):
        wild = wildly(rate)
        path = tmp_path / f"{rate:g}"
        with pytest.raises(TrainingError):
            list(run(restless(tiny), wild, path))
        if path.exists():
            assert all(bool(torch.isfinite(value).all()) for value in read_tensors(path).values())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_weight_that_is_not_finite_is_not_saved(value: float, tiny: SearchSpace, tmp_path: Path) -> None:
    supernet, path = restless(tiny), tmp_path / "state"
    reports = train(supernet, noise(tiny), SHORT, checkpointing=Checkpointing(path))
    next(reports)
    with torch.no_grad():
        next(supernet.parameters()).view(-1)[0] = value
    with pytest.raises(TrainingError, match="a weight is not finite at step 1"):
        reports.close()
    assert not path.exists()


@pytest.mark.gpu
def test_a_cuda_device_learns_and_resumes(tiny: SearchSpace, tmp_path: Path) -> None:
    recipe = replace(SHORT, phases=(replace(SANDWICH, epochs=20.0, learning_rate=0.05),))
    reports = list(run(restless(tiny).cuda(), recipe, tmp_path / "state"))
    losses = [report.loss for report in reports if isinstance(report, StepReport)]
    assert len(losses) < recipe.total_steps(24)  # not every step waits for the device
    assert losses[-1] < losses[0]
    assert list(run(restless(tiny).cuda(), recipe, tmp_path / "state", resume=True)) == []


@pytest.mark.gpu
def test_images_that_fit_live_on_the_cuda_device(tiny: SearchSpace) -> None:
    device = torch.device("cuda")
    draw = {
        where: Batches(noise(tiny).train, SHORT, normalization=Normalization(), device=where).draw(
            1, 32, torch.Generator().manual_seed(1)
        )
        for where in (device, torch.device("cpu"))
    }
    assert draw[device][0].is_cuda
    torch.testing.assert_close(draw[device][0].cpu(), draw[torch.device("cpu")][0], rtol=1e-3, atol=2e-2)
    assert torch.equal(draw[device][1].cpu(), draw[torch.device("cpu")][1])


def test_less_than_one_batch_is_refused(tiny: SearchSpace, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="24 training images are less than one batch of 25"):
        list(run(restless(tiny), replace(SHORT, batch_size=25), tmp_path / "state"))


@dataclass(frozen=True, slots=True)
class CommandLine:
    """`ofa-nas train` in a process of its own, on images written below `folder`."""

    folder: Path

    def start(self, output: str, *more: str, most_bytes: int = -1) -> subprocess.Popen[str]:
        """Begin a training; no file may grow beyond `most_bytes`, as if the disk were full behind them."""
        root = Path(ofa_nas.__file__).parents[1]
        command = [sys.executable, str(root / "cli.py"), "train", "--space", "tiny", "--device", "cpu"]
        command += ["--threads", "1", "--random-subnets", "1", "--epochs", "3", "--batch-size", "20"]
        command += ["--data", str(self.folder / "shapes"), "--output", str(self.folder / output), *more]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
        return process

    def finish(self, output: str, *more: str) -> None:
        with self.start(output, *more) as process:
            _, shown = process.communicate()
        assert process.returncode == 0, shown

    def stop_after_an_epoch(self, output: str, number: int, *more: str) -> tuple[int, str]:
        """Send a signal at the end of the first epoch; returns the exit status and what stderr still said."""
        with self.start(output, *more) as process:
            assert process.stderr is not None
            assert next(line for line in process.stderr if line.startswith("epoch 1.00"))
            os.kill(process.pid, number)
            rest = process.stderr.read()
        return process.returncode, rest


@pytest.fixture
def command_line(tmp_path: Path) -> CommandLine:
    write_images(tmp_path / "shapes", train=8, val=4)
    return CommandLine(tmp_path)


@pytest.mark.slow
def test_a_killed_training_resumes_bit_for_bit(command_line: CommandLine, tmp_path: Path) -> None:
    often = ("--checkpoint-minutes", "0")
    status, _ = command_line.stop_after_an_epoch("killed", signal.SIGKILL, *often)
    assert status == -signal.SIGKILL
    assert not (tmp_path / "killed" / "supernet.safetensors").exists()
    command_line.finish("killed", *often, "--resume")
    command_line.finish("whole", *often)
    assert_same_tensors(
        tmp_path / "whole" / "checkpoint.safetensors", tmp_path / "killed" / "checkpoint.safetensors"
    )
    for name in ("supernet.safetensors", "supernet.calibration.npz", "supernet.heldout.npz"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()
    epochs = [
        [
            report["epoch"]
            for report in SupernetCard.load(tmp_path / name / "supernet.json").made_by["history"]
        ]
        for name in ("whole", "killed")
    ]
    assert epochs == [[1.0, 2.0, 3.0]] * 2  # those before the kill are remembered


@pytest.mark.slow
@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.campaign),
        pytest.param(signal.SIGHUP, marks=pytest.mark.campaign),
    ],
)
def test_an_interrupted_training_has_a_checkpoint_at_once(
    number: int, command_line: CommandLine, tmp_path: Path
) -> None:
    seldom = ("--checkpoint-minutes", "60")
    status, shown = command_line.stop_after_an_epoch("run", number, *seldom)
    assert status == 128 + number
    assert shown == f"stopped; --resume continues in {tmp_path / 'run'}\ninterrupted\n"
    command_line.finish("run", *seldom, "--resume")
    command_line.finish("whole", *seldom)
    assert_same_tensors(
        tmp_path / "whole" / "checkpoint.safetensors", tmp_path / "run" / "checkpoint.safetensors"
    )


@pytest.mark.slow
def test_a_disk_that_fills_up_leaves_the_checkpoint_before(command_line: CommandLine, tmp_path: Path) -> None:
    often = ("--checkpoint-minutes", "0")
    command_line.stop_after_an_epoch("run", signal.SIGINT, *often)
    checkpoint = tmp_path / "run" / "checkpoint.safetensors"
    before = checkpoint.read_bytes()
    with command_line.start("run", *often, "--resume", most_bytes=len(before) // 2) as process:
        _, shown = process.communicate()
    assert process.returncode == 1
    assert f"error: {checkpoint}: cannot be written" in shown
    assert checkpoint.read_bytes() == before
    assert [path.name for path in checkpoint.parent.glob(".*")] == []
    command_line.finish("run", *often, "--resume")
    command_line.finish("whole", *often)
    assert_same_tensors(tmp_path / "whole" / "checkpoint.safetensors", checkpoint)
