"""Start a supernet from a pretrained static network instead of from noise."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ofa_nas.errors import CheckpointError, ConfigError
from ofa_nas.plugins import load_plugin
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.pretrained import PretrainedNetwork, imagenet_class_ids
from ofa_nas.supernet.sorting import sort_channels
from ofa_nas.supernet.supernet import Supernet


def bootstrap(
    name: str, *, space: SearchSpace, class_ids: Sequence[str], generator: torch.Generator
) -> Supernet:
    """Make a supernet whose largest subnet computes what a pretrained network does.

    Kernels larger than the network's are its own with zeros around; middle channels are sorted by importance.
    The classifier keeps the rows of the classes asked for if the network knows them all, else it starts anew.

    Args:
        name: Plug-in of `ofa_nas.supernet.pretrained`.
        space: The space of the network, with any number of classes.
        class_ids: Ids of the classes in the order of the outputs; WordNet ids for ImageNet's.
        generator: Source of what is not taken over.

    Raises:
        ConfigError: The network belongs to another space, or there is no such network.
        CheckpointError: Its tensors do not fit.
    """
    network: PretrainedNetwork = load_plugin("supernet.pretrained", name)
    if space.name != network.SPACE:
        raise ConfigError(f"{name} starts a supernet of the space {network.SPACE}, not of {space.name}")
    supernet = Supernet(space, generator)
    tensors = _fit_classifier(network.tensors(), space, class_ids)
    own = supernet.state_dict()
    with torch.no_grad():
        for key, value in tensors.items():
            _copy_centred(value, own[key], f"{name}: {key}")
    sort_channels(supernet)
    return supernet


def _fit_classifier(
    tensors: dict[str, Tensor], space: SearchSpace, class_ids: Sequence[str]
) -> dict[str, Tensor]:
    known = {class_id: row for row, class_id in enumerate(imagenet_class_ids())}
    keys = [key for key in tensors if key.startswith("layers.classifier.")]
    if len(class_ids) == space.classes and all(class_id in known for class_id in class_ids):
        rows = torch.tensor([known[class_id] for class_id in class_ids])
        return tensors | {key: tensors[key][rows] for key in keys}
    return {key: value for key, value in tensors.items() if key not in keys}


def _copy_centred(source: Tensor, target: Tensor, where: str) -> None:
    """Copy a tensor, smaller kernels into the middle of larger ones, with zeros around."""
    if source.shape[:2] != target.shape[:2] or source.ndim != target.ndim:
        raise CheckpointError(f"{where} has shape {tuple(source.shape)}; {tuple(target.shape)} is needed")
    if source.ndim < 4:
        target.copy_(source)
        return
    margin = (target.shape[-1] - source.shape[-1]) // 2
    if margin < 0:
        raise CheckpointError(f"{where} has a kernel larger than the space's {target.shape[-1]}")
    size = source.shape[-1]
    target.zero_()
    target[..., margin : margin + size, margin : margin + size].copy_(source)
