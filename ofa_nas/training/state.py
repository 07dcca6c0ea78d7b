"""A training on disk: weights, momentum and position in one safetensors file, replaced by one rename."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from ofa_nas.errors import CheckpointError
from ofa_nas.files import replacing
from ofa_nas.supernet.checkpoint import load_tensors, read_tensors, write_tensors
from ofa_nas.supernet.supernet import Supernet

_WEIGHT, _MOMENTUM, _META = "weight:", "momentum:", "training"


def save_state(
    path: Path, supernet: Supernet, optimizer: torch.optim.SGD, *, step: int, meta: dict[str, object]
) -> None:
    """Write a checkpoint. Everything random follows from seed and step, so no generator is stored.

    Args:
        path: File to replace.
        supernet: Its weights and statistics.
        optimizer: Its momentum buffers.
        step: Steps done.
        meta: What a resumed training must agree with.
    """
    tensors = {_WEIGHT + name: value.detach().contiguous() for name, value in supernet.state_dict().items()}
    for name, parameter in supernet.named_parameters():
        buffer = optimizer.state[parameter].get("momentum_buffer")
        if buffer is not None:
            tensors[_MOMENTUM + name] = buffer.contiguous()
    with replacing(path) as temporary:
        write_tensors(temporary, tensors, metadata={_META: json.dumps({"step": step, **meta})})


def load_state(path: Path, supernet: Supernet, optimizer: torch.optim.SGD, *, meta: dict[str, object]) -> int:
    """Read a checkpoint back; returns the steps done.

    Raises:
        CheckpointError: It is missing, damaged, or of another training.
    """
    tensors = read_tensors(path)
    found = _read_meta(path)
    for key, value in meta.items():
        if found.get(key) != value:
            raise CheckpointError(
                f"{path}: made with {key} = {found.get(key)}, now it is {value}; "
                "resume with the same settings or train into another folder"
            )
    weights = {
        name.removeprefix(_WEIGHT): value for name, value in tensors.items() if name.startswith(_WEIGHT)
    }
    load_tensors(supernet, weights, where=str(path))
    for name, parameter in supernet.named_parameters():
        if _MOMENTUM + name in tensors:
            optimizer.state[parameter]["momentum_buffer"] = tensors[_MOMENTUM + name].to(parameter.device)
    return int(found["step"])


def _read_meta(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        text = (file.metadata() or {}).get(_META, "")
    try:
        found = json.loads(text)
        found["step"] = int(found["step"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CheckpointError(f"{path}: not the checkpoint of a training") from error
    return dict(found)
