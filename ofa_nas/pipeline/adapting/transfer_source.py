"""The subnet that a transfer or a pruning starts from: an architecture of a supernet, or an exported file."""

from dataclasses import dataclass
from pathlib import Path

from onnx import TensorProto, numpy_helper

from ofa_nas.data import Normalization
from ofa_nas.errors import CheckpointError, ConfigError
from ofa_nas.export.card import ModelCard, read_model
from ofa_nas.export.export import model_card
from ofa_nas.onnx_writer import Weights
from ofa_nas.pipeline.evaluating.images import supernet_images
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.points import named_architecture
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.checkpoint import load_supernet
from ofa_nas.supernet.supernet import Subnet
from ofa_nas.supernet_card import CROP, Fit, SupernetCard, SupernetFiles
from ofa_nas.training.evaluate import calibrated_subnet

_ONNX = ".onnx"


@dataclass(frozen=True, slots=True)
class SourceSubnet:
    """A subnet whose batch norms are folded.

    Attributes:
        name: For cards and messages.
        space: Search space.
        arch: Architecture.
        data: Name of the data set that it was trained on.
        normalization: Of its inputs.
        weights: As an exported file has them.
        class_names: Of the classifier's outputs.
        subnet: The same network before its batch norms are folded; None where only a file is there.
        licence: Terms of the weights; empty where nobody stated them.
        fit: How its images became square.
    """

    name: str
    space: SearchSpace
    arch: Architecture
    data: str
    normalization: Normalization
    weights: Weights
    class_names: tuple[str, ...]
    subnet: Subnet | None = None
    licence: str = ""
    fit: Fit = CROP


def named_subnet(text: str, supernet: str) -> tuple[SearchSpace, Architecture]:
    """Space and architecture of a subnet, without its weights.

    Args:
        text: Architecture, `smallest`, `middle`, `largest`, or an exported file.
        supernet: Name or weights file; not asked for a file.

    Raises:
        ArchitectureError: The text is no architecture of the supernet's space.
        CheckpointError: There is no such supernet.
        FileError: The file is not one of ours.
    """
    if text.endswith(_ONNX):
        card = ModelCard.from_model(read_model(Path(text)), Path(text))
        space, arch = card.space, card.arch
    else:
        space = SupernetCard.load(SupernetFiles.find(supernet).card).space
        arch = named_architecture(space, text)
    _check(space, text if text.endswith(_ONNX) else supernet)
    return space, arch


def open_subnet(text: str, supernet: str) -> SourceSubnet:
    """A subnet with its weights: extracted, calibrated on the supernet's images, and folded.

    Args:
        text: As `named_subnet` takes it.
        supernet: Likewise.

    Raises:
        CheckpointError: The supernet has no weights or images, or the file's weights are not fp32.
    """
    space, arch = named_subnet(text, supernet)
    if text.endswith(_ONNX):
        return _of_file(Path(text))
    files = SupernetFiles.find(supernet)
    SupernetCard.load(files.card).check_weights(files.name)
    network, card = load_supernet(files)
    calibration = supernet_images(files.calibration, "calibration")
    normalization = model_card(files.name, card, arch, {}).normalization
    subnet = calibrated_subnet(network, arch, images=calibration.images, normalization=normalization)
    name = f"{arch} of {files.name} (weights {card.sha256[:12]})"
    weights = subnet.folded_weights()
    return SourceSubnet(
        name=name,
        space=space,
        arch=arch,
        data=card.data,
        normalization=normalization,
        weights=weights,
        class_names=card.class_names,
        subnet=subnet,
        licence=card.licence,
        fit=card.fit,
    )


def _of_file(path: Path) -> SourceSubnet:
    model = read_model(path)
    card = ModelCard.from_model(model, path)
    weights = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT
    }
    if not any(name.endswith(".weight") for name in weights) or any(
        node.op_type == "DequantizeLinear" for node in model.graph.node
    ):
        raise CheckpointError(f"--from {path}: its weights are not fp32; give the fp32 file of this subnet")
    digest = card.supernet_sha256[:12]
    name = f"{card.arch} of {path.name} (supernet {card.supernet}, weights {digest})"
    return SourceSubnet(
        name,
        card.space,
        card.arch,
        card.data,
        card.normalization,
        weights,
        card.class_names,
        licence=card.licence,
        fit=card.fit,
    )


def _check(space: SearchSpace, where: str) -> None:
    if space.lite:
        raise ConfigError(
            f"--from {where}: was transferred with lite residual modules already; start from the subnet that "
            "it came from"
        )
