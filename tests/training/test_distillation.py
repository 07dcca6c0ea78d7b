"""Distillation losses against their definitions."""

import pytest
import torch
from torch import Tensor

from ofa_nas.training.distillation import adaptive_alpha_divergence, soft_cross_entropy


def logits(scale: float, seed: int) -> Tensor:
    return scale * torch.randn(5, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradient(loss: Tensor, of: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(loss, of)
    return found


def alpha_divergence(p: Tensor, q: Tensor, alpha: float) -> Tensor:
    """Equation 2 of arXiv:2102.07954, and its limit at 1; `(B,)`."""
    if alpha == 1.0:
        return (p * (p / q).log()).sum(dim=1)
    return (q * ((p / q) ** alpha - 1.0)).sum(dim=1) / (alpha * (alpha - 1.0))


def test_soft_cross_entropy_has_the_gradient_of_the_divergence() -> None:
    student, teacher = logits(1.0, 1).requires_grad_(), logits(1.0, 2)
    p, q = teacher.softmax(1), student.softmax(1)
    kl = (p * (p / q).log()).sum(1).mean()
    found = soft_cross_entropy(student, teacher)
    assert found.item() == pytest.approx(kl.item() - (p * p.log()).sum(1).mean().item())
    torch.testing.assert_close(gradient(found, student), gradient(kl, student))


def test_alpha_divergence_without_clipping_is_the_larger_of_the_two() -> None:
    student, teacher = logits(0.2, 1).requires_grad_(), logits(0.2, 2)  # ratios stay below the clip
    p, q = teacher.softmax(1), student.softmax(1)
    over, under = alpha_divergence(p, q, -1.0), alpha_divergence(p, q, 1.0)
    assert 0 < (over > under).sum() < 5  # both are chosen somewhere
    expected = gradient(torch.maximum(over, under).mean(), student)
    torch.testing.assert_close(gradient(adaptive_alpha_divergence(student, teacher), student), expected)


def test_a_student_without_an_idea_learns_all_that_a_sure_teacher_knows() -> None:
    """Of two hundred classes the ratio to the teacher's answer is far above what ratios are clipped at."""
    teacher = torch.zeros(1, 200, dtype=torch.float64)
    teacher[0, 3] = 8.0
    student = torch.zeros_like(teacher).requires_grad_()
    p, q = teacher.softmax(1), student.softmax(1)
    assert (p / q).max() > 100
    found = gradient(adaptive_alpha_divergence(student, teacher), student)
    torch.testing.assert_close(found, gradient(alpha_divergence(p, q, 1.0).sum(), student))


def test_what_is_overestimated_is_clipped() -> None:
    teacher = torch.tensor([[0.0, -9.0, 0.0]], dtype=torch.float64)
    student = torch.tensor([[0.0, 1.1, 0.0]], dtype=torch.float64).requires_grad_()
    p, q = teacher.softmax(1), student.softmax(1)
    weights = (q / p).detach().clamp(max=5.0)
    assert bool(((weights - 1.0) * q).sum() / 2 > alpha_divergence(p, q, 1.0))
    expected = gradient((q.detach() * weights * q.log()).sum(), student)
    torch.testing.assert_close(gradient(adaptive_alpha_divergence(student, teacher), student), expected)


def test_clipping_bounds_the_gradient_of_a_hopeless_student() -> None:
    student, teacher = logits(30.0, 1).requires_grad_(), logits(30.0, 2)
    found = gradient(adaptive_alpha_divergence(student, teacher), student)
    assert bool(torch.isfinite(found).all())
    assert found.abs().max() <= 5.0


@pytest.mark.parametrize("loss", [soft_cross_entropy, adaptive_alpha_divergence])
def test_a_student_that_agrees_has_nothing_to_learn(loss: object) -> None:
    assert callable(loss)
    teacher = logits(2.0, 3)
    student = teacher.clone().requires_grad_()
    torch.testing.assert_close(gradient(loss(student, teacher), student), torch.zeros_like(teacher))
