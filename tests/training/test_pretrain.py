"""Pretraining: what a step descends, that features spread, and that nothing is lost when it stops."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ofa_nas.data import Normalization
from ofa_nas.data.packed import PackedImages
from ofa_nas.errors import CheckpointError, ConfigError, DataError, RecipeError, TrainingError
from ofa_nas.pipeline.training.pretraining import with_classifier
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.checkpoint import read_tensors
from ofa_nas.supernet.elastic import TRAIN, TRAIN_LARGEST
from ofa_nas.supernet.supernet import Supernet
from ofa_nas.training.batches import Batches
from ofa_nas.training.first_supernet import first_encoder
from ofa_nas.training.loop import Checkpointing, StepReport
from ofa_nas.training.losses.align_uniform import align, terms
from ofa_nas.training.pretrain import FEATURES, PretrainingReport, ViewLearner, pretrain
from ofa_nas.training.recipe import Recipe, Settings
from ofa_nas.training.state import EpochEnd
from tests.training.test_train import restless

LARGEST = replace(Recipe.load("largest", purpose="pretrain"), batch_size=8)
SANDWICH = replace(Recipe.load("sandwich", purpose="pretrain"), batch_size=8)
SHORT = LARGEST.override(Settings(epochs=3.0))


def pictures(count: int = 24) -> PackedImages:
    """Images of a colour of their own, with bars of a direction of their own."""
    rng = np.random.default_rng(0)
    down, right = np.mgrid[:32, :32] / 32
    images = []
    for _ in range(count):
        angle, waves = rng.uniform(0, np.pi), rng.uniform(2, 6)
        bars = 1 + np.sin(2 * np.pi * waves * (np.cos(angle) * right + np.sin(angle) * down))
        images.append(bars[..., None] * rng.uniform(20, 127, 3))
    labels = np.zeros(count, dtype=np.int64)
    return PackedImages(np.array(images).astype(np.uint8), labels, ("unlabelled",))


def encoder(seed: int = 1) -> Supernet:
    recipe = replace(Recipe.load("sandwich", purpose="pretrain"), seed=seed)
    return first_encoder("tiny", start=None, recipe=recipe, device=torch.device("cpu")).supernet


def run(
    supernet: Supernet, recipe: Recipe, path: Path, *, resume: bool = False, count: int = 24
) -> Iterator[PretrainingReport]:
    return pretrain(
        supernet,
        pictures(count),
        recipe,
        loss="align-uniform",
        normalization=Normalization(),
        checkpointing=Checkpointing(path, resume, minutes=0.0),
    )


def learner(supernet: Supernet, recipe: Recipe) -> ViewLearner:
    batches = Batches(pictures(), recipe, normalization=Normalization(), device=torch.device("cpu"))
    return ViewLearner(supernet, batches, "align-uniform")


@pytest.mark.parametrize("recipe", [LARGEST, SANDWICH], ids=["largest", "sandwich"])
def test_a_step_descends_the_loss_and_by_the_sandwich_rule_what_follows_it(
    recipe: Recipe, tiny: SearchSpace
) -> None:
    space = replace(tiny.with_classes(FEATURES), resolutions=(32,))
    recipe = replace(recipe, weight_decay=0.0)
    supernet, plain = restless(space), restless(space)
    ours = learner(supernet, recipe)
    loss = ours.step(0)
    assert ours.take_terms().keys() == {"align", "uniform"}

    rng = np.random.default_rng([recipe.seed, 0])
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    rng.choice(space.resolutions)
    x = torch.cat(ours.batches.draw_views(0, 32, generator))
    features = F.normalize(plain(x, space.largest, TRAIN_LARGEST), dim=1)
    expected = sum(terms(*features.chunk(2)).values())
    assert isinstance(expected, torch.Tensor)
    assert float(loss) == pytest.approx(float(expected.detach()), rel=1e-5)
    at = recipe.position(0, 24)
    if at.phase.teacher == "largest":
        smaller = list(ours._smaller_archs(at, 32, rng))
        assert smaller[0] == space.smallest
        for arch in smaller:
            expected = expected + align(F.normalize(plain(x, arch, TRAIN), dim=1), features.detach())
    expected.backward()  # type: ignore[no-untyped-call]
    found = dict(supernet.named_parameters())
    for name, parameter in plain.named_parameters():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        wanted = parameter - at.learning_rate * gradient  # plain momentum: the first step is the gradient
        torch.testing.assert_close(found[name], wanted, rtol=1e-4, atol=1e-5)


def test_everything_decays_but_kernel_transforms(tiny: SearchSpace) -> None:
    states = []
    for decay in (0.0, 0.1):
        supernet = restless(tiny.with_classes(FEATURES))
        learner(supernet, replace(SANDWICH, weight_decay=decay)).step(0)
        states.append(dict(supernet.named_parameters()))
    same = {name for name, value in states[0].items() if torch.equal(value, states[1][name])}
    assert same == {name for name in states[0] if ".transforms." in name}


def test_the_published_schedule_is_a_constant_rate_and_three_tenths() -> None:
    recipe = Recipe.load("largest", purpose="pretrain")
    images = 105_000
    steps = recipe.steps_per_epoch(images)
    rates = [recipe.position(epoch * steps, images).learning_rate for epoch in range(200)]
    assert rates == pytest.approx([0.12] * 155 + [0.012] * 15 + [0.0012] * 15 + [0.00012] * 15)
    at_768 = recipe.override(Settings(batch_size=768))
    assert at_768.phases[0].learning_rate == pytest.approx(0.36)
    assert recipe.epochs == 200.0


def test_features_come_together_and_spread(tmp_path: Path) -> None:
    recipe = replace(LARGEST.override(Settings(epochs=6.0)), batch_size=16)
    reports = [
        one for one in run(encoder(), recipe, tmp_path / "state", count=64) if isinstance(one, EpochEnd)
    ]
    first, last = reports[0], reports[-1]
    assert last.loss < first.loss - 0.2
    assert last.terms["uniform"] < first.terms["uniform"] - 0.2
    assert last.loss == pytest.approx(sum(last.terms.values()))


def test_a_usual_classifier_as_head_would_collapse_at_first() -> None:
    """Why `new_head` is there: with short features the first steps throw everything on one point."""
    recipe = LARGEST.override(Settings(batch_size=24, learning_rate=0.12))
    losses = {}
    for is_short in (False, True):
        supernet = encoder()
        if is_short:
            with torch.no_grad():
                dict(supernet.named_parameters())["layers.classifier.linear.weight"].mul_(0.05)
        ours = learner(supernet, recipe)
        for step in range(6):
            ours.step(step)
            told = ours.take_terms()
        losses[is_short] = told["uniform"]
    assert losses[False] < losses[True] - 0.1


@pytest.mark.parametrize("recipe", [SHORT, SANDWICH.override(Settings(epochs=3.0))], ids=["one", "many"])
def test_resuming_continues_bit_for_bit(recipe: Recipe, tmp_path: Path) -> None:
    whole, halved = tmp_path / "whole", tmp_path / "halved"
    list(run(encoder(), recipe, whole))
    for report in run(encoder(), recipe, halved):
        if isinstance(report, StepReport) and report.step == 4:  # closing the stream writes a checkpoint
            break
    reports = list(run(encoder(seed=99), recipe, halved, resume=True))
    assert isinstance(reports[0], StepReport)
    assert reports[0].step == 5
    expected, found = read_tensors(whole), read_tensors(halved)
    assert expected.keys() == found.keys()
    assert [name for name, value in expected.items() if not torch.equal(value, found[name])] == []


def test_an_epoch_that_ended_without_its_report_is_reported_first(tmp_path: Path) -> None:
    whole = [one for one in run(encoder(), SHORT, tmp_path / "whole") if isinstance(one, EpochEnd)]
    for report in run(encoder(), SHORT, tmp_path / "halved"):
        if report.step == 3:  # the last step of the first epoch
            break
    resumed = list(run(encoder(seed=99), SHORT, tmp_path / "halved", resume=True))
    epochs = [replace(one, elapsed_s=0.0) for one in resumed if isinstance(one, EpochEnd)]
    assert epochs == [replace(one, elapsed_s=0.0) for one in whole]


def test_resuming_another_pretraining_is_refused(tmp_path: Path) -> None:
    list(run(encoder(), SHORT, tmp_path / "state"))
    with pytest.raises(CheckpointError, match=r"made with recipe\.seed = 0, now it is 1"):
        list(run(encoder(), replace(SHORT, seed=1), tmp_path / "state", resume=True))


def test_a_diverging_loss_stops(tmp_path: Path) -> None:
    wild = LARGEST.override(Settings(epochs=20.0, learning_rate=1e30))
    with pytest.raises(TrainingError, match=r"(the loss is nan|a weight is not finite) at step \d+"):
        list(run(encoder(), wild, tmp_path / "state"))


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="4 training images are less than one batch of 8"):
        list(run(encoder(), SHORT, tmp_path / "state", count=4))


@pytest.mark.parametrize("given", ["{'far': (x - y).pow(2)}", "{}", "(x - y).pow(2).sum()"])
def test_a_loss_of_ones_own_without_scalars_is_told(
    write_module: Callable[[str], str], tmp_path: Path, given: str
) -> None:
    loss = write_module(
        f"def terms(x, y):\n    return {given}\ndef follow(x, answers):\n    return x.sum()\n"
    )
    with pytest.raises(ConfigError, match="terms are no dictionary of scalars"):
        list(
            pretrain(
                encoder(),
                pictures(),
                SHORT,
                loss=loss,
                normalization=Normalization(),
                checkpointing=Checkpointing(tmp_path / "state"),
            )
        )


def test_an_unknown_loss_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no 'contrast'"):
        list(
            pretrain(
                encoder(),
                pictures(),
                SHORT,
                loss="contrast",
                normalization=Normalization(),
                checkpointing=Checkpointing(tmp_path / "state"),
            )
        )


def test_a_frozen_teacher_has_no_place_in_it(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text("[[phases]]\nname = 'a'\nteacher = 'frozen'\nepochs = 1.0\nlearning_rate = 0.1\n")
    with pytest.raises(RecipeError, match=r"phases\[0\]\.teacher.*none, largest"):
        Recipe.load(str(path), purpose="pretrain")


def test_the_head_is_thrown_away_and_all_else_kept() -> None:
    before = encoder()
    after = with_classifier(before, 10, seed=4)
    assert after.space.classes == 10
    kept = before.state_dict()
    for name, value in after.state_dict().items():
        if "classifier" in name:
            assert len(value) == 10
        else:
            assert torch.equal(value, kept[name])


def test_residual_branches_of_a_fresh_encoder_are_open() -> None:
    scales = [module.weight for module in encoder().modules() if isinstance(module, nn.BatchNorm2d)]
    assert scales
    assert all(torch.equal(scale, torch.ones_like(scale)) for scale in scales)
    fresh = Supernet(SearchSpace.load("tiny"), torch.Generator().manual_seed(0))
    assert any(not module.weight.any() for module in fresh.modules() if isinstance(module, nn.BatchNorm2d))
