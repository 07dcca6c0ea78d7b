"""Adam that may free each gradient as soon as it has used it, so that they are never all there at once."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

_MOMENTS = ("exp_avg", "exp_avg_sq")


class FreeingAdam:
    """Adam with a state for each parameter, stepping inside the backward pass if it is freeing.

    Args:
        parameters: That are trained.
        is_freeing: Update a parameter when its gradient is complete, and free that.

    Source: Kingma and Ba 2015, arXiv:1412.6980, algorithm 1.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], *, is_freeing: bool = True) -> None:
        self.parameters = list(parameters)
        self.is_freeing = is_freeing
        self._of = {id(value): torch.optim.Adam([value], lr=0.0, foreach=False) for value in self.parameters}
        if is_freeing:
            for value in self.parameters:
                value.register_post_accumulate_grad_hook(self._update)  # type: ignore[no-untyped-call]

    def set_rate(self, learning_rate: float) -> None:
        """Set the learning rate of the steps to come."""
        for one in self._of.values():
            one.param_groups[0]["lr"] = learning_rate

    def step(self) -> None:
        """Update what the backward pass did not update, and free its gradients."""
        for value in self.parameters:
            if value.grad is not None:
                self._update(value)

    def state_bytes(self) -> int:
        """Bytes of all moments."""
        return sum(moment.nbytes for moments in self.moments() for moment in moments)

    def moments(self) -> list[tuple[Tensor, Tensor]]:
        """First and second moment of each parameter, in its order."""
        return [self._moments(value) for value in self.parameters]

    def restore(self, moments: Iterable[tuple[Tensor, Tensor]], *, steps: int) -> None:
        """Take over moments after so many steps."""
        for value, pair in zip(self.parameters, moments, strict=True):
            state = self._of[id(value)].state[value]
            state["step"] = torch.tensor(float(steps))
            for name, moment in zip(_MOMENTS, pair, strict=True):
                state[name] = moment.to(value.device).clone(memory_format=torch.preserve_format)

    def _update(self, value: Tensor) -> None:
        self._of[id(value)].step()
        value.grad = None

    def _moments(self, value: nn.Parameter) -> tuple[Tensor, Tensor]:
        state = self._of[id(value)].state[value]
        first, second = (state.get(name) for name in _MOMENTS)
        return (
            torch.zeros_like(value) if first is None else first,
            torch.zeros_like(value) if second is None else second,
        )
