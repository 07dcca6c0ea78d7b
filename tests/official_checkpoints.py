"""Checkpoints as once-for-all writes them, made up here: all its names and shapes, and values of our own."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

NAMES = Path(__file__).parent / "supernet" / "official_names"
MOBILENET = "ofa_mbv3_d234_e346_k357_w1.0"
NETWORKS = tuple(sorted(path.name.removesuffix(".txt") for path in NAMES.glob("*.txt")))
BATCH_NORM = ("weight", "bias", "running_mean", "running_var")


def official_shapes(network: str) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of one of once-for-all's networks."""
    shapes: dict[str, tuple[int, ...]] = {}
    for line in (NAMES / f"{network}.txt").read_text().splitlines()[1:]:
        name, size = line.split()
        shape = tuple(map(int, size.split("x")))
        if name.endswith(".*"):
            shapes |= {name.replace("*", kind): shape for kind in BATCH_NORM}
            shapes[name.replace("*", "num_batches_tracked")] = ()
        else:
            shapes[name] = shape
    return shapes


def lively_tensors(network: str, *, seed: int = 0) -> dict[str, Tensor]:
    """Tensors none of which is at a value that would hide a mistake."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: _lively(name, torch.empty(shape), generator) for name, shape in official_shapes(network).items()
    }


def _lively(name: str, value: Tensor, generator: torch.Generator) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.tensor(7)
    if name.endswith("_matrix"):
        return torch.eye(len(value)) + 0.05 * torch.randn(value.shape, generator=generator)
    if value.ndim > 1:
        return value.normal_(0.0, (2.0 / value[0].numel()) ** 0.5, generator=generator)
    if name.endswith(("bn.weight", "running_var")):
        return value.uniform_(0.5, 1.5, generator=generator)
    return value.normal_(0.0, 0.2, generator=generator)


def flat_tensors(network: str) -> dict[str, Tensor]:
    """Tensors each of which repeats one number of its own: they take no room in a file."""
    return {
        name: torch.tensor(0.01 * index if shape else index).expand(shape)
        for index, (name, shape) in enumerate(official_shapes(network).items(), start=1)
    }


def spelt_as_published(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names of the published files, which are older than once-for-all's present code."""
    return dict(_older_names(tensors))


def _older_names(tensors: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, value in tensors.items():
        parts = name.split(".")
        if parts[0] == "blocks":
            parts[2] = "mobile_inverted_conv"
        yield ".".join(parts), value


class Runs:
    """What a careless reader of pickles would do with an object: make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.mkdir, (str(self.folder),)
