"""Tickets on disk: one file after each round, replaced by one rename."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ofa_nas.errors import CheckpointError
from ofa_nas.pruning.masks import full_masks
from ofa_nas.pruning.tickets import Ticket
from ofa_nas.supernet.checkpoint import check_tensors, read_tensors
from ofa_nas.training.state import read_meta, write_state

_MASK, _REWOUND, _TRAINED, _ROUNDS = "mask:", "rewound:", "trained:", "rounds"


@dataclass(frozen=True, slots=True)
class Round:
    """A training of a ticket.

    Attributes:
        round: From 0, the training of the dense network.
        remaining: Weights that are left.
        weights: That there were.
        loss: Mean of the last steps.
        accuracy: Top-1 on held-out images, in [0, 1].
    """

    round: int
    remaining: int
    weights: int
    loss: float
    accuracy: float


def save_ticket(path: Path, ticket: Ticket, rounds: Sequence[Round], *, meta: dict[str, object]) -> None:
    """Write the end of a round.

    Args:
        path: File to replace.
        ticket: Of the round.
        rounds: All so far.
        meta: What must be the same to go on.
    """
    tensors = {_MASK + name: mask.half() for name, mask in ticket.masks.items()}
    tensors |= {_REWOUND + name: value for name, value in ticket.rewound.items()}
    tensors |= {_TRAINED + name: value for name, value in ticket.trained.items()}
    told = {**meta, _ROUNDS: [asdict(one) for one in rounds]}
    write_state(path, tensors, step=ticket.round, meta=told)


def load_ticket(path: Path, module: nn.Module, *, meta: dict[str, object]) -> tuple[Ticket, list[Round]]:
    """Read the end of the last round that is complete.

    Raises:
        CheckpointError: It is missing, damaged, or of another pruning.
    """
    tensors = read_tensors(path)
    found = read_meta(path, meta=meta)
    masks, state = full_masks(module), module.state_dict()
    needed = {_MASK + name: mask.half() for name, mask in masks.items()}
    needed |= {part + name: value for name, value in state.items() for part in (_REWOUND, _TRAINED)}
    check_tensors(tensors, needed, where=str(path))
    ticket = Ticket(
        int(found["step"]),
        {name: tensors[_MASK + name] > 0.5 for name in masks},
        {name: tensors[_REWOUND + name] for name in state},
        {name: tensors[_TRAINED + name] for name in state},
    )
    device = next(module.parameters()).device
    return _on(ticket, device), _rounds(found, ticket.round, path)


def _on(ticket: Ticket, device: torch.device) -> Ticket:
    parts = (ticket.masks, ticket.rewound, ticket.trained)
    return Ticket(ticket.round, *({name: value.to(device) for name, value in part.items()} for part in parts))


def _rounds(found: dict[str, Any], number: int, path: Path) -> list[Round]:
    try:
        rounds = [
            Round(
                int(one["round"]),
                int(one["remaining"]),
                int(one["weights"]),
                float(one["loss"]),
                float(one["accuracy"]),
            )
            for one in found[_ROUNDS]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: does not tell of its rounds") from error
    if [one.round for one in rounds] != list(range(number + 1)):
        raise CheckpointError(f"{path}: tells of other rounds than its {number + 1}")
    return rounds
