"""Lottery tickets: train, prune the smallest weights, rewind the others to where they were, and again.

It knows nothing of what is trained: a module, and something that trains it from one step to another.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor, nn

from ofa_nas.errors import ConfigError, TrainingError
from ofa_nas.pruning.masks import Masks, Scope, full_masks, prune_smallest, pruned

_T = TypeVar("_T")
# Trains from the first step to before the second one, with a fresh optimiser, telling what it does.
Course = Callable[[int, int], Iterator[_T]]


@dataclass(frozen=True, slots=True)
class LotteryPlan:
    """How tickets are drawn.

    Attributes:
        rounds: How often weights are pruned; there is one training more.
        steps: Of a whole training.
        rewind: Step that the weights which are left go back to; 0 is the start.
        share: Of the weights that are left, pruned in each round.
        scope: `global` or `layer`, as `prune_smallest` takes it.
        halved: Layers that lose half the share, by scope `layer`.
    """

    rounds: int
    steps: int
    rewind: int = 0
    share: float = 0.2
    scope: Scope = "global"
    halved: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Refuse what cannot be, by the names of the flags."""
        if not 1 <= self.rounds <= 100:
            raise ConfigError(f"--rounds {self.rounds}: expected 1 to 100")
        if not 0.0 < self.share < 1.0:
            raise ConfigError(f"--share {self.share}: expected a share of the weights, above 0 and below 1")
        if not 0 <= self.rewind < self.steps:
            raise ConfigError(
                f"--rewind {self.rewind}: expected a step before the end of the training, "
                f"0 to {self.steps - 1}"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Ticket:
    """The end of a round: all that the next one needs.

    Attributes:
        round: From 0, the training of the dense network.
        masks: What was left in this round.
        rewound: State of the module at the step of the rewinding, nothing pruned.
        trained: State of the module at the end of this round; pruned weights are 0.
    """

    round: int
    masks: Masks
    rewound: dict[str, Tensor]
    trained: dict[str, Tensor]


def draw_tickets(
    module: nn.Module, train: Course[_T], plan: LotteryPlan, *, last: Ticket | None = None
) -> Generator[_T | Ticket, None, None]:
    """Train and prune in turn: iterative magnitude pruning with rewinding.

    Args:
        module: With its first weights; with those of the last round at the end.
        train: As `Course` says; whatever it draws must follow from the number of the step.
        plan: How often, and how much.
        last: A ticket of the same plan to go on from.

    Yields:
        What `train` tells, and a ticket after each training.

    Raises:
        TrainingError: A layer would lose its last weight, after which nothing before it learns.

    Source: Frankle and Carbin 2019, arXiv:1803.03635, section 2; Frankle et al. 2020, arXiv:1912.05671,
    algorithm 2 (rewinding to a later step).
    """
    if last is None:
        yield from train(0, plan.rewind)
        rewound, first = snapshot(module), 0
    else:
        rewound, first = last.rewound, last.round + 1
        module.load_state_dict(last.trained)
    for number in range(first, plan.rounds + 1):
        masks = full_masks(module) if last is None else _next_masks(last, plan)
        module.load_state_dict(rewound)
        with pruned(module, masks):
            yield from train(plan.rewind, plan.steps)
        last = Ticket(number, masks, rewound, snapshot(module))
        yield last


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    """A copy of a module's state."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def _next_masks(ticket: Ticket, plan: LotteryPlan) -> dict[str, Tensor]:
    weights = {name: ticket.trained[name] for name in ticket.masks}
    masks = prune_smallest(weights, ticket.masks, share=plan.share, scope=plan.scope, halved=plan.halved)
    for name, mask in masks.items():
        if not bool(mask.any()):
            raise TrainingError(
                f"round {ticket.round + 1} would prune every weight of {name}; give --scope layer, "
                f"or a smaller --share or fewer --rounds; the {ticket.round + 1} trainings so far are kept"
            )
    return masks
