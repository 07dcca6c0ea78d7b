"""Tickets: masks only shrink, what is left is rewound bit by bit, and rounds can be resumed."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ofa_nas.errors import CheckpointError, ConfigError, TrainingError
from ofa_nas.pruning.masks import remaining
from ofa_nas.pruning.state import Round, load_ticket, save_ticket
from ofa_nas.pruning.tickets import LotteryPlan, Ticket, draw_tickets, snapshot

PLAN = LotteryPlan(rounds=3, steps=12, rewind=4)
META: dict[str, object] = {"start": "here"}


class Course:
    """Trains a small network, and keeps what it began each training with."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.begun: list[tuple[int, int, dict[str, Tensor]]] = []

    def __call__(self, first: int, last: int) -> Iterator[int]:
        self.begun.append((first, last, snapshot(self.module)))
        optimizer = torch.optim.Adam(self.module.parameters(), 0.02)
        for step in range(first, last):
            x = torch.randn(16, 6, generator=torch.Generator().manual_seed(step))
            loss = (self.module(x) - x[:, :2].abs()).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield step


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Linear(20, 2))


def draw(plan: LotteryPlan = PLAN, *, last: Ticket | None = None) -> tuple[Course, list[Ticket]]:
    own = network()
    course = Course(own)
    return course, [one for one in draw_tickets(own, course, plan, last=last) if isinstance(one, Ticket)]


def test_what_is_left_begins_each_round_at_the_rewound_weights_bit_by_bit() -> None:
    course, tickets = draw()
    assert [(first, last) for first, last, _ in course.begun] == [(0, 4)] + [(4, 12)] * 4
    rewound = tickets[0].rewound
    assert not torch.equal(rewound["0.weight"], course.begun[0][2]["0.weight"]), "step 4 is not the start"
    for ticket, (_, _, begun) in zip(tickets, course.begun[1:], strict=True):
        for name, value in begun.items():
            kept = ticket.masks.get(name, torch.ones_like(value, dtype=torch.bool))
            assert torch.equal(value[kept], rewound[name][kept])
            assert bool((value[~kept] == 0.0).all())


def test_masks_only_shrink_by_a_fifth_of_what_is_left_rounded_up() -> None:
    _, tickets = draw()
    assert [remaining(ticket.masks) for ticket in tickets] == [160, 128, 102, 81]
    for before, after in pairwise(tickets):
        for name, mask in after.masks.items():
            assert not bool((mask & ~before.masks[name]).any())
            assert bool((after.trained[name][~mask] == 0.0).all())


def test_each_round_prunes_by_the_weights_at_its_end() -> None:
    _, tickets = draw()
    for before, after in pairwise(tickets):
        magnitudes = torch.cat([before.trained[name].abs().flatten() for name in before.masks])
        was, stays = (torch.cat([one.masks[name].flatten() for name in one.masks]) for one in (before, after))
        assert magnitudes[was & ~stays].max() <= magnitudes[stays].min()


def test_a_resumed_drawing_ends_where_an_uninterrupted_one_does(tmp_path: Path) -> None:
    _, whole = draw()
    _, some = draw(replace(PLAN, rounds=1))
    rounds = [Round(number, 160 - 32 * number, 160, 1.5, 0.5) for number in range(2)]
    save_ticket(tmp_path / "ticket", some[-1], rounds, meta=META)
    last, told = load_ticket(tmp_path / "ticket", network(), meta=META)
    assert told == rounds
    course, rest = draw(last=last)
    assert [ticket.round for ticket in rest] == [2, 3]
    assert len(course.begun) == 2
    for name, value in whole[-1].trained.items():
        assert torch.equal(value, rest[-1].trained[name]), name


def test_tickets_of_something_else_are_refused(tmp_path: Path) -> None:
    _, tickets = draw(replace(PLAN, rounds=1))
    path = tmp_path / "ticket"
    save_ticket(path, tickets[-1], [], meta=META)
    with pytest.raises(CheckpointError, match="start = here, now it is there"):
        load_ticket(path, network(), meta={"start": "there"})
    with pytest.raises(CheckpointError, match="tells of other rounds than its 2"):
        load_ticket(path, network(), meta=META)
    with pytest.raises(CheckpointError, match=r"is (missing|unknown)"):
        load_ticket(path, nn.Linear(6, 2), meta=META)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_ticket(tmp_path / "none", network(), meta=META)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rounds": 0}, "--rounds 0: expected 1 to 100"),
        ({"share": 1.0}, "--share 1.0: expected a share"),
        ({"rewind": 12}, "--rewind 12: expected a step before the end of the training, 0 to 11"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(PLAN, **changes)  # type: ignore[arg-type]


def test_a_layer_that_would_lose_its_last_weight_stops_the_drawing() -> None:
    own = network()
    with torch.no_grad():
        own.get_parameter("3.weight").mul_(1e-6)
    records = draw_tickets(own, lambda first, last: iter(range(first, last)), replace(PLAN, share=0.5))
    with pytest.raises(
        TrainingError, match=r"round 1 would prune every weight of 3\.weight; give --scope layer"
    ):
        list(records)
