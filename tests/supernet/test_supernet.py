"""The supernet, its subnets and their ONNX files are the same function."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ofa_nas.assets import asset_names
from ofa_nas.errors import ArchitectureError
from ofa_nas.onnx_writer import write_model
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.blocks import lower
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.operators import Convolution, Elementwise
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.elastic import EVALUATE, TRAIN, TRAIN_LARGEST, ElasticConvolution
from ofa_nas.supernet.supernet import Supernet
from tests.torch_reference import relative_error, run_onnx

SPACES = asset_names("search_spaces", suffix=".toml")


def lively_supernet(space: SearchSpace, seed: int = 0) -> Supernet:
    """A supernet none of whose tensors is at a value that would hide a mistake."""
    generator = torch.Generator().manual_seed(seed)
    supernet = Supernet(space, generator)
    with torch.no_grad():
        for module in supernet.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0.0, 0.1, generator=generator)
                module.running_mean.normal_(0.0, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
            elif isinstance(module, ElasticConvolution):
                for matrix in module.transforms.values():
                    matrix.add_(torch.randn(matrix.shape, generator=generator) * 0.05)
    return supernet


def images(arch: Architecture, count: int = 2, *, space: SearchSpace | None = None) -> Tensor:
    """Of three colours, or signals of the space."""
    generator = torch.Generator().manual_seed(1)
    height = 1 if space and space.axes == 1 else arch.resolution
    return torch.randn(count, space.channels if space else 3, height, arch.resolution, generator=generator)


@pytest.mark.parametrize("name", SPACES)
def test_supernet_equals_extracted_subnet_equals_onnx_file(name: str) -> None:
    space = SearchSpace.load(name)
    supernet = lively_supernet(space)
    encoding = Encoding.of(space)
    drawn = encoding.decode(encoding.sample(2, np.random.default_rng(0)))
    for arch in (space.smallest, *drawn):
        x = images(arch, space=space)
        with torch.no_grad():
            subnet = supernet.extract(arch)
            logits, own = supernet(x, arch).numpy(), subnet(x).numpy()
        np.testing.assert_allclose(own, logits, atol=1e-5 * np.abs(logits).max())
        model = write_model(subnet.walk, subnet.folded_weights())
        assert relative_error(run_onnx(model, x[:1].numpy()), logits[:1]) < 1e-4


def test_supernet_has_the_tensors_of_once_for_all() -> None:
    """Source: OFA's own class holds 7,678,880 parameters in 475 tensors at width 1.0, 10,715,752 at 1.2."""
    for name, parameters in (("mobilenet_v3", 7_678_880), ("mobilenet_v3_w1.2", 10_715_752)):
        supernet = Supernet(SearchSpace.load(name), torch.Generator().manual_seed(0))
        assert sum(parameter.numel() for parameter in supernet.parameters()) == parameters
    assert len(Supernet(SearchSpace.load("mobilenet_v3")).state_dict()) == 475


def test_a_smaller_kernel_starts_as_the_centre_of_the_larger(tiny: SearchSpace) -> None:
    supernet = Supernet(tiny, torch.Generator().manual_seed(0))
    large = supernet.extract(tiny.parse("32/5x2/5x2")).folded_weights()["s0b0/depthwise.weight"]
    small = supernet.extract(tiny.parse("32/3x2/3x2")).folded_weights()["s0b0/depthwise.weight"]
    np.testing.assert_array_equal(small, large[:, :, 1:-1, 1:-1])


def test_training_one_subnet_leaves_statistics_alone_unless_it_is_the_largest(tiny: SearchSpace) -> None:
    supernet = lively_supernet(tiny)
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    supernet(images(tiny.smallest), tiny.smallest, TRAIN)
    assert all(torch.equal(before[name], value) for name, value in supernet.state_dict().items())
    supernet(images(tiny.largest), tiny.largest, TRAIN_LARGEST)
    changed = {name for name, value in supernet.state_dict().items() if not torch.equal(before[name], value)}
    assert changed
    assert all(name.endswith(("running_mean", "running_var")) for name in changed)


def test_dropped_inputs_do_not_reach_the_classifier(tiny: SearchSpace) -> None:
    supernet, x = lively_supernet(tiny), images(tiny.largest)
    weight, bias = (
        dict(supernet.named_parameters())[f"layers.classifier.linear.{n}"] for n in ("weight", "bias")
    )
    with torch.no_grad():
        bias.uniform_(0.1, 0.2)
        kept = torch.zeros(2, weight.shape[1])
        kept[1, :5] = 2.0
        found = supernet(x, tiny.largest, replace(EVALUATE, dropout=kept))
        torch.testing.assert_close(found[0], bias)
        weight[:, 5:] = 0.0
        torch.testing.assert_close(found[1] - bias, 2.0 * (supernet(x, tiny.largest)[1] - bias))


def test_one_forward_pass_does_not_influence_the_next(tiny: SearchSpace) -> None:
    supernet = lively_supernet(tiny)
    x = images(tiny.largest)
    with torch.no_grad():
        first = supernet(x, tiny.largest)
        supernet(images(tiny.smallest), tiny.smallest)
        assert torch.equal(supernet(x, tiny.largest), first)


def test_gradients_reach_the_slice_of_a_subnet_and_nothing_else(tiny: SearchSpace) -> None:
    supernet = lively_supernet(tiny)
    supernet(images(tiny.smallest), tiny.smallest, TRAIN).sum().backward()
    state = dict(supernet.named_parameters())
    gradient = state["layers.s1b0.project.weight"].grad
    assert gradient is not None
    narrow = tiny.stages[1].expand_ratios[0] * tiny.stages[0].width
    assert gradient[:, :narrow].abs().sum() > 0
    assert gradient[:, narrow:].abs().sum() == 0
    assert state["layers.s1b1.project.weight"].grad is None


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(1, 3, 24, 24),
        torch.zeros(1, 1, 32, 32),
        torch.zeros(3, 32, 32),
        torch.zeros(1, 3, 32, 32, dtype=torch.uint8),
    ],
)
def test_images_of_another_shape_or_type_are_refused(tiny: SearchSpace, x: Tensor) -> None:
    supernet = Supernet(tiny, torch.Generator().manual_seed(0))
    subnet = supernet.extract(tiny.largest)
    told = re.escape(f"input is a {x.dtype} tensor {tuple(x.shape)}; architecture 32/")
    with pytest.raises(ArchitectureError, match=f"{told}.* takes floats \\(B, 3, 32, 32\\)"):
        supernet(x, tiny.largest)
    with pytest.raises(ArchitectureError, match=told):
        subnet(x)


@pytest.mark.parametrize("text", ["32/3x2", "32/3x2/3x2/3x2", "32/3x2/9x8", "32/3x2.3x2.3x2/3x2"])
def test_an_architecture_of_another_space_is_not_run(tiny: SearchSpace, text: str) -> None:
    supernet = Supernet(tiny, torch.Generator().manual_seed(0))
    with pytest.raises(ArchitectureError, match="is not in tiny"):
        supernet(torch.zeros(1, 3, 32, 32), Architecture.parse(text))


@pytest.mark.parametrize("name", SPACES)
def test_residual_branches_begin_at_zero_and_nothing_else_does(name: str) -> None:
    """The last norm of a branch scales what is added: a fresh network is little more than its shortcuts."""
    space = SearchSpace.load(name)
    supernet = Supernet(space, torch.Generator().manual_seed(0))
    branches = kept = 0
    for layer in space.layers(space.largest):
        operators = lower(layer)
        ends = {one.inputs[0] for one in operators if isinstance(one, Elementwise) and one.function == "add"}
        for operator in operators:
            if not isinstance(operator, Convolution):
                continue
            module = supernet.weighted(layer, operator)
            if isinstance(module, ElasticConvolution) and module.bn is not None:
                is_zero = not module.bn.weight.any()
                assert is_zero == (operator.name in ends), f"{layer.name}: {operator.name}"
                branches, kept = branches + is_zero, kept + (not is_zero)
    assert branches
    assert kept
