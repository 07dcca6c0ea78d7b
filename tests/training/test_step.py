"""Phases: who learns from whom, what changes between them, and that a resume finds its way back."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.checkpoint import read_tensors
from ofa_nas.supernet.elastic import TRAIN
from ofa_nas.supernet.supernet import Supernet
from ofa_nas.training.batches import Batches
from ofa_nas.training.distillation import adaptive_alpha_divergence
from ofa_nas.training.loop import StepReport
from ofa_nas.training.phase import Phase
from ofa_nas.training.recipe import Recipe, Settings
from ofa_nas.training.step import Learner
from tests.training.test_train import (
    WatchedSupernet,
    assert_same_tensors,
    noise,
    restless,
    run,
    with_dropout,
)

FULL = Phase("full", "none", epochs=1.0, learning_rate=0.1)
KERNEL = Phase("kernel", "frozen", epochs=1.0, learning_rate=0.1, random_subnets=2, depths=1, expand_ratios=1)
EXPAND = Phase("expand", "frozen", epochs=1.0, learning_rate=0.1, random_subnets=2, sort_channels=True)
PROGRESSIVE = Recipe("progressive", (FULL, KERNEL, EXPAND), batch_size=8, weight_decay=0.0, clip_norm=0.0)


def learner(supernet: Supernet, recipe: Recipe) -> Learner:
    data = noise(supernet.space)
    device = torch.device("cpu")
    batches = Batches(data.train, recipe, normalization=data.normalization, device=device)
    return Learner(supernet, batches)


def test_phases_train_what_is_elastic_in_them(tiny: SearchSpace, tmp_path: Path) -> None:
    supernet = WatchedSupernet(tiny)
    reports = list(run(supernet, PROGRESSIVE, tmp_path / "state"))
    phases = [report.phase for report in reports if isinstance(report, StepReport)]
    assert phases == ["full"] * 3 + ["kernel"] * 3 + ["expand"] * 3
    archs = [replace(call.arch, resolution=tiny.largest.resolution) for call in supernet.calls]
    assert archs[:3] == [tiny.largest] * 3
    kernel, expand = archs[3:9], archs[9:]
    assert len(kernel) == len(expand) == 6
    blocks = {block for arch in kernel for stage in arch.stages for block in stage}
    assert {block.kernel_size for block in blocks} == {3, 5}
    assert {block.expand_ratio for block in blocks} == {3}
    assert {len(stage) for arch in kernel for stage in arch.stages} == {2}
    assert {block.expand_ratio for arch in expand for stage in arch.stages for block in stage} == {2, 3}
    assert {len(stage) for arch in expand for stage in arch.stages} == {1, 2}


def test_a_space_without_a_choice_is_trained_once_a_step(tiny: SearchSpace) -> None:
    only = replace(tiny.keep_largest(kernel_sizes=1, depths=1, expand_ratios=1), resolutions=(32,))
    phase = Phase("sandwich", "largest", epochs=1.0, learning_rate=0.1, random_subnets=2)
    supernet = WatchedSupernet(only)
    learner(supernet, Recipe("sandwich", (phase,), batch_size=8)).step(0)
    assert [call.arch for call in supernet.calls] == [only.largest]


def test_the_teacher_is_the_largest_after_the_first_phase(tiny: SearchSpace) -> None:
    taught = learner(WatchedSupernet(tiny), PROGRESSIVE)
    for step in range(3):
        taught.step(step)
    untaught = taught.teacher
    assert untaught is None
    after_first = {name: value.clone() for name, value in taught.supernet.state_dict().items()}
    for step in range(3, 9):
        taught.step(step)
    assert taught.teacher is not None
    for name, value in taught.teacher.state_dict().items():
        assert torch.equal(value, after_first[name]), name
    assert any(
        not torch.equal(value, after_first[name]) for name, value in taught.supernet.state_dict().items()
    )


def test_subnets_of_a_frozen_teacher_learn_from_labels_and_answers(tiny: SearchSpace) -> None:
    supernet = WatchedSupernet(tiny)
    taught = learner(supernet, PROGRESSIVE)
    for step in range(3):
        taught.step(step)
    plain = Supernet(tiny)
    plain.load_state_dict(supernet.state_dict())
    supernet.calls.clear()
    loss = taught.step(3)
    assert taught.teacher is not None
    calls = supernet.calls
    assert len(calls) == 2
    x, labels = calls[0].x, batch_labels(taught, 3)
    largest = replace(tiny.largest, resolution=x.shape[-1])
    with torch.no_grad():
        answers = plain(x, largest, TRAIN).softmax(dim=1)
    total = torch.zeros(())
    hard = 0.0
    for call in calls:
        logits = plain(call.x, call.arch, TRAIN)
        on_labels = F.cross_entropy(logits, labels, label_smoothing=0.1)
        hard += float(on_labels.detach()) / 2
        total = total + on_labels + F.cross_entropy(logits, answers)
    total.backward()  # type: ignore[no-untyped-call]
    assert float(loss) == pytest.approx(hard, rel=1e-5)
    rate = PROGRESSIVE.position(3, 24).learning_rate * 1.9  # momentum starts anew with the phase
    found = dict(supernet.named_parameters())
    for name, parameter in plain.named_parameters():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(found[name], parameter - rate * gradient, rtol=1e-4, atol=1e-6)


def batch_labels(taught: Learner, step: int) -> torch.Tensor:
    _, labels = taught.batches.draw(step, 32, torch.Generator())
    return labels


@pytest.mark.parametrize("before", [(FULL,), (FULL, KERNEL)])
def test_channels_are_sorted_before_an_expand_phase(before: tuple[Phase, ...], tiny: SearchSpace) -> None:
    phases = (*before, replace(EXPAND, learning_rate=1e-9))
    taught = learner(restless(tiny), replace(PROGRESSIVE, phases=phases))
    for step in range(3 * len(before) + 1):
        taught.step(step)
    sorted_weights = 0
    for name, weight in taught.supernet.state_dict().items():
        if name.endswith(("project.weight", "se_expand.weight")):
            importance = weight.abs().sum(dim=(0, 2, 3))
            assert (importance[:-1] >= importance[1:] - 1e-6).all(), name
            sorted_weights += name.endswith("se_expand.weight")
    assert sorted_weights


def test_subnets_of_the_phase_before_stay_as_they_are_when_channels_are_sorted_again(
    tiny: SearchSpace,
) -> None:
    recipe = replace(PROGRESSIVE, phases=(FULL, EXPAND, replace(EXPAND, learning_rate=1e-12)))
    taught = learner(restless(tiny), recipe)
    for step in range(6):
        taught.step(step)
    own = taught.supernet
    with torch.no_grad():
        for name, weight in own.named_parameters():
            if name.endswith("project.weight"):  # the last channels, which narrow subnets lack, count most
                weight.mul_(torch.linspace(1.0, 9.0, weight.shape[1])[:, None, None])
    x = torch.randn(8, 3, 24, 24, generator=torch.Generator().manual_seed(3))
    before = own(x, tiny.smallest, TRAIN)
    weights = {name: value.clone() for name, value in own.state_dict().items()}
    taught.step(6)
    assert any(not torch.allclose(value, weights[name]) for name, value in own.state_dict().items())
    torch.testing.assert_close(own(x, tiny.smallest, TRAIN), before, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("stop", [2, 3, 5, 6, 8])
def test_resuming_in_and_between_phases_continues_bit_for_bit(
    stop: int, tiny: SearchSpace, tmp_path: Path
) -> None:
    whole, halved = tmp_path / "whole", tmp_path / "halved"
    list(run(restless(tiny), PROGRESSIVE, whole))
    for report in run(restless(tiny), PROGRESSIVE, halved):
        if isinstance(report, StepReport) and report.step == stop:
            break
    list(run(Supernet(tiny, torch.Generator().manual_seed(99)), PROGRESSIVE, halved, resume=True))
    assert_same_tensors(whole, halved)
    assert any(name.startswith("teacher:") for name in read_tensors(whole))


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_divergence_and_share_of_labels_are_those_of_the_recipe(share: float, tiny: SearchSpace) -> None:
    sandwich = Recipe.load("sandwich").override(Settings(epochs=1 / 3, batch_size=8, learning_rate=0.1))
    phases = tuple(replace(phase, label_share=share) for phase in sandwich.phases)
    alpha = replace(sandwich, phases=phases, divergence="alpha", clip_norm=0.0, weight_decay=0.0)
    supernet = WatchedSupernet(tiny)
    before = {name: value.clone() for name, value in supernet.named_parameters()}
    taught = learner(supernet, alpha)
    taught.step(0)
    plain = restless(tiny)
    first, *others = supernet.calls
    logits = plain(first.x, first.arch, first.mode)
    labels = batch_labels(taught, 0)
    loss = F.cross_entropy(logits, labels, label_smoothing=0.1)
    for call in others:
        own = plain(call.x, call.arch, TRAIN)
        on_answers = adaptive_alpha_divergence(own, logits.detach())
        on_labels = F.cross_entropy(own, labels, label_smoothing=0.1)
        loss = loss + (1 - share) * on_answers + share * on_labels
    loss.backward()  # type: ignore[no-untyped-call]
    rate = alpha.position(0, 24).learning_rate * 1.9
    found = dict(supernet.named_parameters())
    for name, parameter in plain.named_parameters():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(found[name], before[name] - rate * gradient, rtol=1e-4, atol=1e-6)


def test_only_the_largest_drops_inputs_of_the_classifier(tiny: SearchSpace) -> None:
    supernet = WatchedSupernet(with_dropout(tiny, 0.75))
    sandwich = Phase("sandwich", "largest", epochs=1.0, learning_rate=0.1, random_subnets=1)
    recipe = Recipe("sandwich", (sandwich,), batch_size=8)
    taught = learner(supernet, recipe)
    for step in range(3):
        taught.step(step)
    drawn = [call.mode.dropout for call in supernet.calls]
    assert [one is not None for one in drawn] == [True, False, False] * 3
    factors = torch.stack([one for one in drawn if one is not None])
    assert factors.shape == (3, 8, tiny.head.mix_width)
    assert set(factors.flatten().tolist()) == {0.0, 4.0}
    assert factors.mean() == pytest.approx(1.0, abs=0.2)
    assert not torch.equal(factors[0], factors[1])
    other = WatchedSupernet(supernet.space)
    learner(other, replace(recipe, seed=1)).step(0)
    assert other.calls[0].mode.dropout is not None
    assert not torch.equal(other.calls[0].mode.dropout, factors[0])


def test_subnets_of_a_frozen_teacher_drop_inputs_and_the_teacher_none(tiny: SearchSpace) -> None:
    supernet = WatchedSupernet(with_dropout(tiny, 0.5))
    taught = learner(supernet, PROGRESSIVE)
    for step in range(4):
        taught.step(step)
    assert [call.mode.dropout is not None for call in supernet.calls] == [True] * 5
    first, second = (call.mode.dropout for call in supernet.calls[3:])
    assert first is second  # one draw a step
    assert isinstance(taught.teacher, WatchedSupernet)
    (teaching,) = taught.teacher.calls[-1:]
    assert (teaching.arch, teaching.mode.dropout) == (
        replace(tiny.largest, resolution=teaching.x.shape[-1]),
        None,
    )


def test_a_rehearsal_is_of_the_largest_step_and_changes_nothing(tiny: SearchSpace) -> None:
    space = with_dropout(tiny, 0.5)
    low = Phase("low", "largest", epochs=1.0, learning_rate=0.1, random_subnets=1, resolutions=1)
    high = replace(low, name="high", resolutions=0)
    recipe = Recipe("sandwich", (low, high), batch_size=8)
    found = []
    for is_rehearsed in (False, True):
        supernet = WatchedSupernet(space)
        supernet.load_state_dict(restless(space).state_dict())
        taught = learner(supernet, recipe)
        if is_rehearsed:
            taught.rehearse()
            assert [call.x.shape for call in supernet.calls] == [(8, 3, 32, 32)] * 3
            assert supernet.calls[0].arch == space.largest
            assert all(value.grad is None for value in supernet.parameters())
        losses = [float(taught.step(step)) for step in range(4)]
        found.append((losses, supernet.state_dict()))
    assert found[0][0] == found[1][0]
    for name, value in found[0][1].items():
        assert torch.equal(found[1][1][name], value), name


def test_low_resolutions_can_come_first(tiny: SearchSpace, tmp_path: Path) -> None:
    supernet = WatchedSupernet(tiny)
    low = Phase("low", "none", epochs=4.0, learning_rate=0.1, resolutions=1)
    both = replace(low, name="both", resolutions=0)
    list(run(supernet, replace(PROGRESSIVE, phases=(low, both)), tmp_path / "state"))
    sizes = [call.arch.resolution for call in supernet.calls]
    assert set(sizes[:12]) == {24}
    assert set(sizes[12:]) == {24, 32}
