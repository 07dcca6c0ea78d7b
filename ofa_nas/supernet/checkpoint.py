"""Supernets on disk: weights in safetensors, everything that made them in the card beside it."""

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ofa_nas.errors import CheckpointError
from ofa_nas.files import open_regular, replacing
from ofa_nas.space.costs import layer_parameters
from ofa_nas.supernet.supernet import Supernet
from ofa_nas.supernet_card import SupernetCard, SupernetFiles

LARGEST = 8 << 30  # bytes of a file of tensors
_STORED_BYTES = 2  # of a weight, at least
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def save_supernet(files: SupernetFiles, supernet: Supernet, card: SupernetCard) -> None:
    """Write weights and card; convolutions and classifier in half precision.

    What is small and delicate (batch norms, biases, kernel transforms) stays in single precision, and so does
    a tensor with values that half precision cannot hold.
    """
    tensors = {name: _stored(name, value) for name, value in supernet.state_dict().items()}
    with (
        replacing(files.card) as own,
        replacing(files.weights) as temporary,
    ):  # renamed one right after the other
        write_tensors(temporary, tensors)
        digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
        card.with_digest(digest).save(own)


def load_supernet(files: SupernetFiles) -> tuple[Supernet, SupernetCard]:
    """Read weights and card.

    Raises:
        CheckpointError: A file is missing, damaged, or does not belong to the other.
    """
    path = files.weights
    card = SupernetCard.load(files.card)
    card.check_weights(files.name)
    tensors = read_tensors(path)
    if hashlib.sha256(path.read_bytes()).hexdigest() != card.sha256:
        raise CheckpointError(f"{path}: its digest is not the one that {files.card.name} names")
    least = _STORED_BYTES * sum(map(layer_parameters, card.space.layers(card.space.largest)))
    if path.stat().st_size < least:
        raise CheckpointError(
            f"{path}: has no room for the weights of {files.card.name}, at least {least} bytes"
        )
    supernet = Supernet(card.space)
    load_tensors(supernet, tensors, where=str(path))
    return supernet, card


def write_tensors(
    temporary: Path, tensors: dict[str, Tensor], *, metadata: dict[str, str] | None = None
) -> None:
    """Write a safetensors file inside `replacing`, which tells the user when the disk is full."""
    try:
        save_file(tensors, temporary, metadata=metadata)
    except SafetensorError as error:
        raise OSError(str(error)) from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    try:
        with open_regular(path, error=CheckpointError, most=LARGEST):  # safetensors would wait for a pipe
            return load_file(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (SafetensorError, RuntimeError, ValueError, KeyError) as error:  # of shapes and types beyond torch
        raise CheckpointError(f"{path}: not a safetensors file, or a damaged one: {error!s:.300}") from error


def load_tensors(supernet: Supernet, tensors: dict[str, Tensor], *, where: str) -> None:
    """Copy tensors into a supernet, which must have exactly these.

    Raises:
        CheckpointError: As `check_tensors` does.
    """
    own = supernet.state_dict()
    check_tensors(tensors, own, where=where)
    with torch.no_grad():
        for name, value in tensors.items():
            own[name].copy_(value)


def check_tensors(tensors: dict[str, Tensor], needed: dict[str, Tensor], *, where: str) -> None:
    """Refuse tensors that are not those needed, by name and shape.

    Raises:
        CheckpointError: A tensor is missing, unknown, of another shape or kind of numbers, not finite, or a
            variance below 0.
    """
    for name in sorted(needed.keys() ^ tensors.keys()):
        raise CheckpointError(f"{where}: tensor {name[:80]} is {'missing' if name in needed else 'unknown'}")
    for name, value in tensors.items():
        if value.shape != needed[name].shape:
            raise CheckpointError(
                f"{where}: {name} is {tuple(value.shape)!s:.80}; the space needs {tuple(needed[name].shape)}"
            )
        check_numbers(value, name, dtype=needed[name].dtype, where=where)


def check_numbers(value: Tensor, name: str, *, dtype: torch.dtype, where: str) -> None:
    """Refuse a tensor of another kind of numbers than `dtype`, or that is not finite as such.

    Raises:
        CheckpointError: As it says, or it is a variance below 0.
    """
    if value.dtype not in (_FLOATS if dtype.is_floating_point else (torch.int64,)):
        raise CheckpointError(f"{where}: {name} holds {value.dtype}, not {dtype}")
    if value.is_floating_point() and not bool(torch.isfinite(value.to(dtype)).all()):
        raise CheckpointError(f"{where}: {name} holds a value that is not finite as {dtype}")
    if name.endswith("running_var") and bool((value < 0).any()):
        raise CheckpointError(f"{where}: {name} holds a variance below 0")


def _stored(name: str, value: Tensor) -> Tensor:
    value = value.detach().cpu()
    is_large = value.ndim >= 2 and name.endswith(".weight")
    fits = is_large and bool(value.abs().amax() <= torch.finfo(torch.float16).max)
    return (value.half() if fits else value).contiguous()
