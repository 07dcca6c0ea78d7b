"""Losses between a subnet's answers and its teacher's."""

import torch
from torch import Tensor

# Source: Wang et al. 2021, arXiv:2102.07954, section 5, and its code: alpha from -1 to 1, importance weights
# up to 5; not at 1, where they only weigh the teacher's own answers.
_ALPHAS = (-1.0, 1.0)
_CLIP = 5.0


def soft_cross_entropy(logits: Tensor, teacher: Tensor) -> Tensor:
    """Mean cross-entropy of logits `(B, K)` to the answers of teacher logits `(B, K)`.

    Its gradient is that of the Kullback-Leibler divergence.

    Source: Hinton et al. 2015, arXiv:1503.02531, section 2, at temperature 1.
    """
    return -(teacher.softmax(dim=1) * logits.log_softmax(dim=1)).sum(dim=1).mean()


def adaptive_alpha_divergence(logits: Tensor, teacher: Tensor) -> Tensor:
    """Mean, over the batch, of the larger of two alpha divergences of each image.

    The one with alpha -1 punishes what the subnet overestimates, the one with alpha 1 what it underestimates.
    Importance weights are constants to the gradient, and clipped at alpha -1; so the value has the gradient
    of the divergence, not its size.

    Args:
        logits: `(B, K)` of the subnet.
        teacher: `(B, K)` logits.

    Returns:
        Scalar whose gradient is the clipped divergence's.

    Source: Wang et al. 2021, arXiv:2102.07954, equations 2, 5 and 6 (AlphaNet).
    """
    log_q = logits.log_softmax(dim=1)
    log_p = teacher.log_softmax(dim=1)
    terms = [_alpha_terms(log_q, log_p, alpha) for alpha in _ALPHAS]
    (first, first_surrogate), (second, second_surrogate) = terms
    return torch.where(first > second, first_surrogate, second_surrogate).mean()


def _alpha_terms(log_q: Tensor, log_p: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Divergence of each image, `(B,)`, and what has its gradient with constant weights, `(B,)`."""
    log_ratio = log_p - log_q.detach()
    if alpha == 1.0:  # the limit: Kullback-Leibler from teacher to subnet
        p = log_p.exp()
        return (p * log_ratio).sum(dim=1), -(p * log_q).sum(dim=1)
    q = log_q.detach().exp()
    weights = (alpha * log_ratio).exp().clamp(max=_CLIP)
    divergence = q * (weights - 1.0) / (alpha * (alpha - 1.0))
    return divergence.sum(dim=1), -(q * weights / alpha * log_q).sum(dim=1)
