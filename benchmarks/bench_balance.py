"""What does `--balance` do where some classes have few images?

    OFA_NAS_DATA=… python -m benchmarks.bench_balance [--many 300] [--few 30] [--seeds 3]

Half of the classes, drawn by the seed, have few images. Every balance sees equally many images in an epoch.
It is judged on all test images, which have equally many of each class and choose nothing: recall of the rare
classes, recall of the others, their mean (balanced accuracy), and top-1 if test images had the shares of the
training images.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.bench_transfer import transferred
from ofa_nas.cli.console import make_table, wide
from ofa_nas.data.dataset import open_data
from ofa_nas.data.sample import decode
from ofa_nas.pipeline.adapting.transfer_source import open_subnet
from ofa_nas.provenance import record_provenance
from ofa_nas.training.evaluate import count_correct
from ofa_nas.training.recipe import Settings
from ofa_nas.transfer.adapt import transfer_recipe


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one balance made of one draw of images.

    Attributes:
        balance: Of the classes.
        seed: Of the draw, and of the training.
        rare: Mean recall of the classes with few images.
        common: Of the others.
        top_1: Where test images have the shares of the training images.
    """

    balance: float
    seed: int
    rare: float
    common: float
    top_1: float

    @property
    def balanced(self) -> float:
        """Mean recall of all classes."""
        return (self.rare + self.common) / 2.0


def main(argv: Sequence[str] | None = None) -> None:
    """Transfer, judge, print a table and one JSON line."""
    args = _arguments(argv)
    torch.set_num_threads(args.threads)
    outcomes = [_outcome(balance, seed, args) for seed in range(args.seeds) for balance in args.balances]
    table = make_table("balance", "rare classes", "common classes", "balanced accuracy", "top-1")
    for balance in args.balances:
        own = [one for one in outcomes if one.balance == balance]
        columns = ([getattr(one, name) for one in own] for name in ("rare", "common", "balanced", "top_1"))
        table.add_row(f"{balance:g}", *(f"{np.mean(values):.1%}" for values in columns))
    wide.print(table)
    print(
        json.dumps(
            {
                "benchmark": "balance",
                "settings": {key: str(value) for key, value in vars(args).items()},
                "outcomes": [asdict(outcome) for outcome in outcomes],
                "provenance": record_provenance(seed=0).to_json(),
            }
        )
    )


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--supernet", default="efficientnet_lite")
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--subnet", default="smallest")
    parser.add_argument("--method", default="lite+bias")
    parser.add_argument("--balances", type=float, nargs="+", default=[0.0, 0.5, 1.0])
    parser.add_argument("--many", type=int, default=300, help="images of a common class (300)")
    parser.add_argument("--few", type=int, default=30, help="images of a rare one (30)")
    parser.add_argument("--epochs", type=float, default=5.0)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("runs/bench_balance"))
    return parser.parse_args(argv)


def _outcome(balance: float, seed: int, args: argparse.Namespace) -> Outcome:
    data = open_data(args.data)
    counts = _counts(len(data.class_names), args, np.random.default_rng(seed))
    train, test = decode(data.train.subset(_rows(data.train.labels, counts, seed=seed))), decode(data.val)
    source = open_subnet(args.subnet, args.supernet)
    settings = Settings(epochs=args.epochs, balance=balance, seed=seed)
    recipe = transfer_recipe(args.method, batch_size=args.batch_size).override(settings)
    path = args.folder / f"{balance:g}-{seed}.safetensors"
    network = transferred(source, train, test, recipe, path=path)
    own = (test.subset(np.flatnonzero(test.labels == label)) for label in range(len(counts)))
    recalls = np.array(
        [count_correct(network, split, normalization=source.normalization) / len(split) for split in own]
    )
    rare, common = (float(recalls[counts == count].mean()) for count in (args.few, args.many))
    one = Outcome(balance, seed, rare, common, float(np.average(recalls, weights=counts)))
    sys.stderr.write(f"balance {balance:g}, seed {seed}: rare {rare:.1%}, common {common:.1%}\n")
    return one


def _counts(classes: int, args: argparse.Namespace, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Images of each class: half of them, drawn, have few."""
    counts = np.full(classes, args.many, np.int64)
    counts[rng.permutation(classes)[: classes // 2]] = args.few
    return counts


def _rows(
    labels: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], *, seed: int
) -> npt.NDArray[np.int64]:
    """Indices of so many images of each class, drawn anew by each seed."""
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(np.flatnonzero(labels == label))[:count] for label, count in enumerate(counts)]
    return np.sort(np.concatenate(drawn))


if __name__ == "__main__":
    main()
