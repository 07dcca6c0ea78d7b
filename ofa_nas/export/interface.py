"""What a caller of an exported file sees: its precision, how many images it takes at once, and as what."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ofa_nas.data import Normalization
from ofa_nas.errors import ConfigError
from ofa_nas.onnx_writer import IMAGE
from ofa_nas.precisions import FILE_PRECISIONS, FP32
from ofa_nas.space.search_space import SearchSpace

PIXELS = "pixels"  # prefix of the tensors of the preprocessing
DYNAMIC = "batch"  # name of a batch that is known only when the file runs
LARGEST_BATCH = 256


@dataclass(frozen=True, slots=True)
class FileForm:
    """What kind of file an architecture becomes.

    Attributes:
        precision: `fp32`; `fp16`: weights and activations in half precision, inputs and outputs fp32; `int8`:
            weights and activations in 8 bits, inputs and outputs fp32.
        batch: Images that it takes at once; None where the caller chooses.
        has_preprocessing: Whether it takes `(B, R, R, 3)` uint8 pixels and normalises them itself, instead of
            `(B, 3, R, R)` float32 normalised ones.

    Raises:
        ConfigError: There is no such precision or batch.
    """

    precision: str = FP32
    batch: int | None = 1
    has_preprocessing: bool = False

    def __post_init__(self) -> None:
        if self.precision not in FILE_PRECISIONS:
            raise ConfigError(f"precision {self.precision[:40]}: expected {', '.join(FILE_PRECISIONS)}")
        if self.batch is not None and not 1 <= self.batch <= LARGEST_BATCH:
            raise ConfigError(f"batch {self.batch}: expected 1 to {LARGEST_BATCH}, or dynamic")

    def check(self, space: SearchSpace) -> None:
        """Refuse what a file of a space cannot be.

        Raises:
            ConfigError: It would take pixels, and the network takes signals.
        """
        if self.has_preprocessing and space.axes == 1:
            raise ConfigError(
                f"--preprocess: such a file takes pixels of 0 to 255, and {space.name} takes signals: "
                "normalise them by the mean and deviation that ofa-nas show tells"
            )

    def apply(self, model: onnx.ModelProto, normalization: Normalization) -> onnx.ModelProto:
        """A model with a batch of one, of this precision, as a caller will see it."""
        if self.batch != 1:
            model = with_batch(model, self.batch)
            _free_sizes(model.graph)
        if self.has_preprocessing:
            model = with_preprocessing(model, normalization)
        onnx.checker.check_model(model, full_check=True)
        return model


SINGLE_PRECISION = FileForm()


def with_batch(model: onnx.ModelProto, batch: int | None) -> onnx.ModelProto:
    """The same network for batches of one size; None leaves the size to the caller.

    Args:
        model: With a batch of any size; it stays as it is.
        batch: Images at once.
    """
    changed = deepcopy(model)
    graph = changed.graph
    for value in (*graph.input, *graph.output):
        axis = value.type.tensor_type.shape.dim[0]
        axis.Clear()
        if batch is None:
            axis.dim_param = DYNAMIC
        else:
            axis.dim_value = batch
    return changed


def _free_sizes(graph: onnx.GraphProto) -> None:
    """Make of the output sizes of each Resize, written for one image, those of as many as come in."""
    constants = {node.output[0]: node for node in graph.node if node.op_type == "Constant"}
    resized = [node for node in graph.node if node.op_type == "Resize" and node.input[3] in constants]
    for node in resized:
        sizes = constants[node.input[3]].attribute[0].t
        sizes.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(sizes)[1:], sizes.name))
        place, of_all = list(graph.node).index(node), f"{node.input[3]}_of_all"
        joined = helper.make_node("Concat", [DYNAMIC, node.input[3]], [of_all], name=of_all, axis=0)
        node.input[3] = of_all
        graph.node.insert(place, joined)
    if resized:  # behind a size that the graph states, ONNX Runtime makes constants of all this
        shape = helper.make_node("Shape", [graph.input[0].name], [DYNAMIC], name=DYNAMIC, start=0, end=1)
        graph.node.insert(0, shape)


def with_preprocessing(model: onnx.ModelProto, normalization: Normalization) -> onnx.ModelProto:
    """The same network for pixels: `image` `(B, R, R, 3)` uint8, RGB, of the network's own resolution.

    The subtraction and division are done in fp32 inside; resizing is left to the caller.

    Args:
        model: That takes `image` `(B, 3, R, R)` float32, normalised; it stays as it is.
        normalization: Of the network.
    """
    changed = deepcopy(model)
    graph, inside = changed.graph, f"{PIXELS}/normalised"
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == IMAGE:
                node.input[place] = inside
    for name, values in (("mean", normalization.mean), ("std", normalization.std)):
        column = np.array(values, dtype=np.float32).reshape(1, 3, 1, 1)
        graph.initializer.append(numpy_helper.from_array(column, f"{PIXELS}/{name}"))
    steps: list[
        tuple[str, list[str], str, dict[str, Any]]
    ] = [  # transposed as bytes: a quarter of the memory
        ("Transpose", [IMAGE], "channels_first", {"perm": [0, 3, 1, 2]}),
        ("Cast", [f"{PIXELS}/channels_first"], "float", {"to": TensorProto.FLOAT}),
        ("Sub", [f"{PIXELS}/float", f"{PIXELS}/mean"], "centred", {}),
        ("Div", [f"{PIXELS}/centred", f"{PIXELS}/std"], "normalised", {}),
    ]
    for place, (operator, inputs, output, attributes) in enumerate(steps):
        name = f"{PIXELS}/{output}"
        node = helper.make_node(operator, inputs, [name], name=name)
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        graph.node.insert(place, node)
    tensor = graph.input[0].type.tensor_type
    batch, channels, height, width = (deepcopy(axis) for axis in tensor.shape.dim)
    del tensor.shape.dim[:]
    tensor.shape.dim.extend([batch, height, width, channels])
    tensor.elem_type = TensorProto.UINT8
    return changed


def preprocessing_bytes(resolution: int) -> int:
    """Most bytes that the preprocessing of one image holds: its numbers before and after a step."""
    return (4 + 4) * 3 * resolution**2
