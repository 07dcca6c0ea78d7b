"""Give a network of folded weights its batch norms back, so that it can be trained as one that has them."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ofa_nas.errors import CheckpointError
from ofa_nas.onnx_writer import Weights
from ofa_nas.space.layer import Layer
from ofa_nas.space.operators import tensor_name
from ofa_nas.supernet.elastic import ElasticConvolution
from ofa_nas.supernet.supernet import Supernet

_LEAST_DEVIATION = 1e-4  # of a channel's values; one that varies less is not stretched


def unfold(
    supernet: Supernet, weights: Weights, layers: Sequence[Layer], *, batches: Iterable[Tensor], where: str
) -> None:
    """Take over folded weights, and make them such that batch norms have statistics of images to divide by.

    The network computes the same function as before, and each convolution's outputs have variance 1.

    Args:
        supernet: Of one architecture, changed in place.
        weights: As `Subnet.folded_weights` gives them, or the initialisers of an exported file.
        layers: That the weights are named after; each stands where one of the supernet does.
        batches: Images `(B, 3, R, R)`, one batch or more.
        where: The weights come from, for messages.

    Raises:
        CheckpointError: A weight is missing, of another shape, or not finite.
    """
    names = {own.name: source for own, source in zip(supernet.walk, layers, strict=True)}
    normed: list[_Outputs] = []
    with torch.no_grad():
        for layer, operator, module in supernet.weighted_operators():
            name = tensor_name(names[layer.name], operator.name)
            module.weight.copy_(checked_weight(weights, f"{name}.weight", module.weight.shape, where))
            bias = module.bias
            if isinstance(module, ElasticConvolution) and module.bn is not None:
                bias = module.bn.bias  # a batch norm that only adds its bias, until the outputs are known
                module.bn.reset_running_stats()
                module.bn.weight.fill_((1.0 + module.bn.eps) ** 0.5)
                normed.append(_Outputs(module))
            if bias is not None:
                bias.copy_(checked_weight(weights, f"{name}.bias", bias.shape, where))
        for batch in batches:
            supernet(batch, supernet.space.largest)
        for outputs in normed:
            outputs.normalise()


def checked_weight(weights: Weights, key: str, shape: torch.Size, where: str) -> Tensor:
    """A weight of a file.

    Raises:
        CheckpointError: It is missing, of another shape, or not finite.
    """
    if key not in weights:
        raise CheckpointError(f"{where}: weight {key} is missing")
    value = torch.from_numpy(np.array(weights[key], dtype=np.float32))
    if value.shape != shape:
        raise CheckpointError(f"{where}: {key} is {tuple(value.shape)}; {tuple(shape)} is needed")
    if not bool(torch.isfinite(value).all()):
        raise CheckpointError(f"{where}: {key} holds a value that is not finite")
    return value


class _Outputs:
    """Mean and variance of what a convolution with its batch norm gives, over all positions of all images."""

    def __init__(self, module: ElasticConvolution) -> None:
        self.module = module
        self.count = 0
        self.sum = self.squares = torch.zeros(())
        self.hook = module.register_forward_hook(self._add)

    def _add(self, _: nn.Module, __: tuple[object, ...], output: Tensor) -> None:
        values = output.double()
        self.count += output.numel() // output.shape[1]
        self.sum = self.sum + values.sum(dim=(0, 2, 3))
        self.squares = self.squares + values.square().sum(dim=(0, 2, 3))

    def normalise(self) -> None:
        """Scale the weights to outputs of variance 1, and let the batch norm scale back."""
        self.hook.remove()
        bn = self.module.bn
        assert bn is not None
        assert bn.running_mean is not None
        mean = self.sum / self.count
        deviation = (self.squares / self.count - mean.square()).clamp(min=0.0).sqrt()
        deviation[deviation < _LEAST_DEVIATION] = 1.0
        self.module.weight.div_(deviation[:, None, None, None])
        bn.running_mean.copy_((mean - bn.bias) / deviation)
        bn.weight.mul_(deviation)
        bn.bias.copy_(mean)
