"""A transfer learns, goes on where it was stopped, and leaves alone what it does not train."""

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ofa_nas.data import Normalization
from ofa_nas.data.packed import PackedImages
from ofa_nas.errors import CheckpointError, ConfigError, DataError, TrainingError
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.training.loop import Checkpointing, StepReport
from ofa_nas.training.recipe import Recipe
from ofa_nas.training.splits import TrainingData
from ofa_nas.training.state import RateChange
from ofa_nas.transfer.adapt import TransferEpoch, adapt, transfer_recipe
from ofa_nas.transfer.methods import METHODS
from ofa_nas.transfer.network import TransferNetwork, transfer_space
from ofa_nas.transfer.optimizer import FreeingAdam


def images(count: int, seed: int) -> PackedImages:
    """Two classes: left half brighter, right half brighter."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=count)
    pixels = rng.integers(0, 120, size=(count, 24, 24, 3))
    for pixel, label in zip(pixels, labels, strict=True):
        pixel[:, 12 * label : 12 * (label + 1)] += 100
    return PackedImages(pixels.astype(np.uint8), labels, ("left", "right"))


def turned(split: PackedImages) -> PackedImages:
    """Brighter above or below, which mirroring does not change."""
    return PackedImages(split.images.transpose(0, 2, 1, 3).copy(), split.labels, ("above", "below"))


def network(tiny: SearchSpace, name: str = "lite+bias") -> TransferNetwork:
    method = METHODS[name]
    space = transfer_space(tiny, tiny.smallest, classes=2, method=method)
    own = TransferNetwork(space, method)
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for value in own.parameters():
            if value.ndim > 1:
                value.normal_(0.0, (2.0 / value[0].numel()) ** 0.5, generator=generator)
    own.initialise(generator)
    return own


DATA = TrainingData(images(64, 0), images(50, 1), images(1, 2).images, Normalization())


def recipe(name: str = "lite+bias", *, epochs: float = 1.0, rate: float = 3e-3) -> Recipe:
    made = transfer_recipe(name)
    return replace(made, phases=(replace(made.phases[0], epochs=epochs, learning_rate=rate),), crop_scale=0.9)


@pytest.mark.parametrize("name", METHODS)
def test_what_a_method_trains_changes_and_nothing_else(name: str, tiny: SearchSpace, tmp_path: Path) -> None:
    own = network(tiny, name)
    before = {key: value.detach().clone() for key, value in own.named_parameters()}
    list(adapt(own, DATA, recipe(name), checkpointing=Checkpointing(tmp_path / "state.safetensors")))
    changed = {key for key, value in own.named_parameters() if not torch.equal(value, before[key])}
    assert changed == own.trained().keys()


def test_it_learns(tiny: SearchSpace, tmp_path: Path) -> None:
    data = replace(DATA, train=turned(images(256, 3)), held_out=turned(DATA.held_out))
    own = network(tiny)
    reports = list(adapt(own, data, recipe(epochs=3.0), checkpointing=Checkpointing(tmp_path / "a")))
    epochs = [report for report in reports if isinstance(report, TransferEpoch)]
    assert [round(report.epoch) for report in epochs] == [1, 2, 3]
    assert epochs[-1].accuracy > 0.9
    assert epochs[-1].loss < epochs[0].loss


def test_a_stopped_transfer_goes_on_to_the_same_end(tiny: SearchSpace, tmp_path: Path) -> None:
    whole, parts = network(tiny), network(tiny)
    straight = Checkpointing(tmp_path / "whole.safetensors")
    list(adapt(whole, DATA, recipe(), checkpointing=straight))
    stopped = Checkpointing(tmp_path / "parts.safetensors")
    with closing(adapt(parts, DATA, recipe(), checkpointing=stopped)) as reports:
        steps = [next(reports) for _ in range(3)]
    assert isinstance(steps[-1], StepReport)
    fresh = network(tiny)
    rest = list(adapt(fresh, DATA, recipe(), checkpointing=replace(stopped, resume=True)))
    assert rest[0].step == 4
    for key, value in whole.named_parameters():
        assert torch.equal(value, fresh.get_parameter(key)), key


def test_another_transfer_does_not_go_on_from_it(tiny: SearchSpace, tmp_path: Path) -> None:
    place = Checkpointing(tmp_path / "state.safetensors")
    list(adapt(network(tiny), DATA, recipe(epochs=0.2), checkpointing=place))
    again = replace(place, resume=True)
    with pytest.raises(CheckpointError, match=r"recipe\.phases\.0\.epochs = 0\.2, now it is 0\.5"):
        list(adapt(network(tiny), DATA, recipe(epochs=0.5), checkpointing=again))
    bias = replace(recipe(epochs=0.2), phases=recipe("bias", epochs=0.2).phases)
    with pytest.raises(CheckpointError, match=r"method = lite\+bias, now it is bias"):
        list(adapt(network(tiny, "bias"), DATA, bias, checkpointing=again))
    with pytest.raises(CheckpointError, match=r"data\.classes\.0 = left, now it is above"):
        list(
            adapt(
                network(tiny),
                replace(DATA, train=turned(DATA.train)),
                recipe(epochs=0.2),
                checkpointing=again,
            )
        )
    missing = Checkpointing(tmp_path / "none.safetensors", resume=True)
    with pytest.raises(CheckpointError, match="cannot be read"):
        list(adapt(network(tiny), DATA, recipe(), checkpointing=missing))


def test_a_stopped_transfer_may_go_on_at_another_rate(tiny: SearchSpace, tmp_path: Path) -> None:
    place = Checkpointing(tmp_path / "state.safetensors")
    with closing(adapt(network(tiny), DATA, recipe(), checkpointing=place)) as reports:
        next(reports)
    slower = recipe(rate=1e-4)
    with pytest.raises(CheckpointError, match=r"learning_rate = 0\.003, now it is 0\.0001"):
        list(adapt(network(tiny), DATA, slower, checkpointing=replace(place, resume=True)))
    given = replace(place, resume=True, has_own_rate=True)
    changed, first, *_ = adapt(network(tiny), DATA, slower, checkpointing=given)
    assert changed == RateChange(2, before=3e-3, learning_rate=1e-4)
    assert isinstance(first, StepReport)
    assert first.learning_rate == slower.position(1, 64).learning_rate
    assert list(adapt(network(tiny), DATA, slower, checkpointing=given)) == [changed]


def test_a_resume_tells_whether_the_classifier_was_kept(tiny: SearchSpace, tmp_path: Path) -> None:
    place = Checkpointing(tmp_path / "state.safetensors")
    first, again, older = (network(tiny) for _ in range(3))
    first.keeps_classifier = True
    list(adapt(first, DATA, recipe(epochs=0.5), checkpointing=place))
    list(adapt(again, DATA, recipe(epochs=0.5), checkpointing=replace(place, resume=True)))
    assert again.keeps_classifier
    with safe_open(place.path, framework="pt") as file:
        told = json.loads(file.metadata()["training"])
    del told["keeps_classifier"]  # as in checkpoints of before, whose classifier began at 0
    save_file(load_file(place.path), place.path, {"training": json.dumps(told)})
    older.keeps_classifier = True
    list(adapt(older, DATA, recipe(epochs=0.5), checkpointing=replace(place, resume=True)))
    assert not older.keeps_classifier
    for key, value in first.named_parameters():
        assert torch.equal(value, older.get_parameter(key)), key


def test_what_cannot_be_trained_is_refused(tiny: SearchSpace, tmp_path: Path) -> None:
    place = Checkpointing(tmp_path / "state.safetensors")
    with pytest.raises(DataError, match="64 training images are less than one batch of 100; lower"):
        list(adapt(network(tiny), DATA, replace(recipe(), batch_size=100), checkpointing=place))
    with pytest.raises(ConfigError, match="--batch-size 0: expected 1 or more"):
        transfer_recipe("bias", batch_size=0)
    with pytest.raises(TrainingError, match="lower --learning-rate; nothing was saved yet"):
        list(adapt(network(tiny), DATA, recipe(rate=1e30), checkpointing=place))


def test_one_image_a_step_is_enough(tiny: SearchSpace, tmp_path: Path) -> None:
    single = replace(recipe(epochs=0.1), batch_size=1)
    reports = list(adapt(network(tiny), DATA, single, checkpointing=Checkpointing(tmp_path / "a")))
    assert len([report for report in reports if isinstance(report, StepReport)]) == 6


def test_updating_inside_the_backward_pass_is_adam_and_frees_gradients() -> None:
    generator = torch.Generator().manual_seed(1)
    start = [torch.randn(3, 4, generator=generator), torch.randn(4, generator=generator)]
    own, stock = ([torch.nn.Parameter(value.clone()) for value in start] for _ in range(2))
    freeing, adam = FreeingAdam(own), torch.optim.Adam(stock, lr=0.1)
    freeing.set_rate(0.1)
    for _ in range(3):
        x = torch.randn(5, 3, generator=generator)
        for weight, bias in (own, stock):
            (x @ weight + bias).square().sum().backward()  # type: ignore[no-untyped-call]
        assert all(value.grad is None for value in own)
        adam.step()
        adam.zero_grad()
    for one, other in zip(own, stock, strict=True):
        torch.testing.assert_close(one, other)
    assert freeing.state_bytes() == 2 * 4 * (12 + 4)
