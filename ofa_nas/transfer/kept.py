"""What a forward pass keeps for the backward pass, counted from the tensors themselves."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks


def kept_bytes(network: nn.Module, forward: Callable[[], Tensor]) -> int:
    """Bytes that autograd saves in a forward pass, each storage once, parameters and buffers left out.

    Args:
        network: Its parameters and buffers are there anyway.
        forward: The pass.
    """
    own = {value.untyped_storage().data_ptr() for value in (*network.parameters(), *network.buffers())}
    kept: dict[int, Any] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage  # held, so that its address goes to no other
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        result = forward()
    assert result.requires_grad or not kept
    return sum(int(storage.nbytes()) for storage in kept.values())
