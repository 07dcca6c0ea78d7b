"""Do lottery tickets of LeNet-300-100 learn Fashion-MNIST better than the dense network and two controls?

    python -m benchmarks.bench_lottery [--seeds 0 1 2] [--rounds 9] [--iterations 3000]

A ticket is found by iterative magnitude pruning, and its weights are set back to their first values. The
controls have as many weights as the ticket: one has its mask over weights drawn anew, the other a mask of
random places over its first weights. All learn from the same batches. A seed that is done is kept in the
folder, and not done again.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ofa_nas.cli.console import make_table, wide
from ofa_nas.data import Source
from ofa_nas.data.dataset import open_data
from ofa_nas.data.sample import decode
from ofa_nas.files import write_json
from ofa_nas.provenance import record_provenance
from ofa_nas.pruning.masks import Masks, pruned, remaining, weight_count
from ofa_nas.pruning.tickets import LotteryPlan, Ticket, draw_tickets

# Frankle and Carbin 2019, arXiv:1803.03635, figure 2: LeNet-300-100.
WIDTHS, RATE, BATCH_SIZE, VALIDATION, EVERY, SHARE = (784, 300, 100, 10), 1.2e-3, 60, 5000, 100, 0.2
OUTPUT = frozenset({"4.weight"})  # loses half the share


@dataclass(frozen=True, slots=True)
class Outcome:
    """One training.

    Attributes:
        network: `dense`, `round N`, `ticket` (the last round), `drawn anew` or `random mask`.
        density: Share of the weights that are left.
        early_step: Iteration of the least validation loss.
        early: Test accuracy there.
        final: Test accuracy at the end.
    """

    network: str
    density: float
    early_step: int
    early: float
    final: float


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Images `(n, 784)` float32 and labels `(n,)`."""

    images: Tensor
    labels: Tensor


class LeNetCourse:
    """Trains LeNet by Adam, and notes the test accuracy at the least validation loss and at the end."""

    def __init__(
        self, network: nn.Sequential, train: Split, validation: Split, test: Split, *, seed: int
    ) -> None:
        self.network, self.train, self.validation, self.test, self.seed = (
            network, train, validation, test, seed
        )  # fmt: skip
        self.early_step, self.early = 0, 0.0
        self._order: tuple[int, Tensor] = (-1, torch.empty(0))

    def __call__(self, first: int, last: int) -> Iterator[int]:
        """Do iterations; yields the numbers of those that were evaluated."""
        optimizer = torch.optim.Adam(self.network.parameters(), lr=RATE, fused=True)
        least = float("inf")
        for step in range(first, last):
            rows = self._rows(step)
            loss = F.cross_entropy(self.network(self.train.images[rows]), self.train.labels[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if (step + 1) % EVERY == 0 or step + 1 == last:
                with torch.inference_mode():
                    logits = self.network(self.validation.images)
                loss_there = float(F.cross_entropy(logits, self.validation.labels))
                if loss_there < least:
                    least, self.early_step, self.early = loss_there, step + 1, self.accuracy()
                yield step + 1

    def accuracy(self) -> float:
        """Of all test images."""
        with torch.inference_mode():
            found = self.network(self.test.images).argmax(dim=1)
        return float((found == self.test.labels).float().mean())

    def outcome(self, network: str, masks: Masks) -> Outcome:
        """What the training that just ended, of the weights of masks, came to."""
        density = remaining(masks) / weight_count(masks)
        return Outcome(network, density, self.early_step, self.early, self.accuracy())

    def _rows(self, step: int) -> Tensor:
        epoch, index = divmod(step, len(self.train.labels) // BATCH_SIZE)
        if self._order[0] != epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.train.labels))
            self._order = (epoch, torch.from_numpy(order))
        return self._order[1][index * BATCH_SIZE : (index + 1) * BATCH_SIZE]


def main(argv: Sequence[str] | None = None) -> None:
    """Train, print a table and one JSON line."""
    args = _arguments(argv)
    torch.set_num_threads(args.threads)
    splits = _splits(args.images)
    found = {seed: _of_seed(seed, splits, args) for seed in args.seeds}
    _show(found)
    document = {
        "benchmark": "lottery",
        "settings": {key: str(value) for key, value in vars(args).items()},
        "outcomes": {seed: [asdict(one) for one in outcomes] for seed, outcomes in found.items()},
        "means": [asdict(one) for one in _means(found)],
        "provenance": record_provenance(seed=args.seeds[0]).to_json(),
    }
    print(json.dumps(document))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=9, help="9 leave 13.5 %% of the weights (9)")
    parser.add_argument("--share", type=float, default=SHARE, help="pruned in a round (0.2)")
    parser.add_argument("--iterations", type=int, default=3000)
    parser.add_argument("--images", type=int, help="training images, fewer than all 55,000 for a short run")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("runs/bench_lottery"))
    return parser.parse_args(argv)


def _splits(images: int | None) -> tuple[Split, Split, Split]:
    data = open_data("fashion_mnist")
    whole, test = _read(data.train), _read(data.val)
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(whole.labels)))
    validation, train = order[:VALIDATION], order[VALIDATION:][:images]
    return (
        Split(whole.images[train], whole.labels[train]),
        Split(whole.images[validation], whole.labels[validation]),
        test,
    )


def _read(source: Source) -> Split:
    packed = decode(source)
    grey = packed.images[..., 0].reshape(len(packed), -1) / np.float32(255)
    return Split(torch.from_numpy(grey), torch.from_numpy(packed.labels))


def lenet(generator: torch.Generator) -> nn.Sequential:
    """LeNet-300-100 with Glorot's normal weights and biases of 0."""
    parts: list[nn.Module] = []
    for into, out in pairwise(WIDTHS):
        linear = nn.Linear(into, out)
        nn.init.xavier_normal_(linear.weight, generator=generator)
        nn.init.zeros_(linear.bias)
        parts += [linear, nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def shuffle(masks: Masks, generator: torch.Generator) -> dict[str, Tensor]:
    """Random masks that leave as many weights of each layer: what a ticket is to be compared with."""
    return {
        name: mask.flatten()[torch.randperm(mask.numel(), generator=generator)].view(mask.shape)
        for name, mask in masks.items()
    }


def _of_seed(seed: int, splits: tuple[Split, Split, Split], args: argparse.Namespace) -> list[Outcome]:
    settings = f"{args.rounds}-{args.share}-{args.iterations}-{args.images or 'all'}"
    path = args.folder / settings / f"seed_{seed}.json"
    if path.is_file():
        return [Outcome(**one) for one in json.loads(path.read_text())["outcomes"]]
    began = time.process_time()
    generator = torch.Generator().manual_seed(seed)
    network = lenet(generator)
    start = {name: value.clone() for name, value in network.state_dict().items()}
    course = LeNetCourse(network, *splits, seed=seed)
    plan = LotteryPlan(args.rounds, args.iterations, share=args.share, scope="layer", halved=OUTPUT)
    outcomes: list[Outcome] = []
    for record in draw_tickets(network, course, plan):
        if isinstance(record, Ticket):
            ends = {0: "dense", args.rounds: "ticket"}
            name = ends.get(record.round, f"round {record.round}")
            outcomes.append(course.outcome(name, record.masks))
            sys.stderr.write(f"seed {seed} {name}: {outcomes[-1].density:.1%} {outcomes[-1].early:.2%}\n")
            ticket = record
    controls = (
        ("drawn anew", lenet(generator).state_dict(), ticket.masks),
        ("random mask", start, shuffle(ticket.masks, generator)),
    )
    for name, first, masks in controls:
        network.load_state_dict(first)
        with pruned(network, masks):
            for _ in course(0, args.iterations):
                pass
        outcomes.append(course.outcome(name, masks))
        sys.stderr.write(f"seed {seed} {name}: {outcomes[-1].early:.2%}\n")
    minutes = (time.process_time() - began) / 60.0
    write_json(path, {"outcomes": [asdict(one) for one in outcomes], "cpu_minutes": minutes})
    return outcomes


def _means(found: dict[int, list[Outcome]]) -> list[Outcome]:
    """The same trainings of all seeds, averaged."""
    return [
        Outcome(
            of_all[0].network,
            of_all[0].density,
            round(float(np.mean([one.early_step for one in of_all]))),
            float(np.mean([one.early for one in of_all])),
            float(np.mean([one.final for one in of_all])),
        )
        for of_all in zip(*found.values(), strict=True)
    ]


def _show(found: dict[int, list[Outcome]]) -> None:
    table = make_table(
        "network", "weights left", "early stop at", "top-1 there", "± seeds", "top-1 at the end"
    )
    for row, mean in enumerate(_means(found)):
        early = [100.0 * outcomes[row].early for outcomes in found.values()]
        cells = (
            f"{mean.early:.2%}",
            f"{np.std(early, ddof=1):.2f}" if len(early) > 1 else "–",
            f"{mean.final:.2%}",
        )
        table.add_row(mean.network, f"{mean.density:.1%}", str(mean.early_step), *cells)
    wide.print(table)


if __name__ == "__main__":
    main()
