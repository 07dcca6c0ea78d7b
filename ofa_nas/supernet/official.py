"""Official once-for-all checkpoints, both ways: read into a supernet, and written from one.

Only names differ. Both keep the largest kernels, one transform matrix for each smaller size, and prefixes of
channels, so every tensor is copied as it is.
"""

import hashlib
import io
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ofa_nas.errors import CheckpointError
from ofa_nas.files import read_bytes, write_bytes
from ofa_nas.provenance import record_provenance
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.checkpoint import check_tensors
from ofa_nas.supernet.pretrained import imagenet_class_ids
from ofa_nas.supernet.supernet import Supernet
from ofa_nas.supernet.tensor_file import LARGEST, unpickle_tensors
from ofa_nas.supernet_card import PublishedWeights, SupernetCard

# Source: ImageNet's statistics as once-for-all's data provider has them, in pixel units.
INPUT_MEAN = (123.675, 116.28, 103.53)
INPUT_STD = (58.395, 57.12, 57.375)
PUBLISHED = "https://raw.githubusercontent.com/han-cai/files/master/ofa"

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64)
_NO_CHECKPOINT = "not a checkpoint of once-for-all"
_COUNTER = "num_batches_tracked"  # of a batch norm; nothing reads it, so a checkpoint may lack it
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var", _COUNTER)

# Operators of a block, ours and theirs.
_BLOCK = {
    "expand": "inverted_bottleneck",
    "depthwise": "depth_conv",
    "se_reduce": "depth_conv.se.fc.reduce",
    "se_expand": "depth_conv.se.fc.expand",
    "project": "point_linear",
}
# Tensors of an operator, ours and theirs: without a wrapper, in a static layer, in one that can be sliced.
_BARE = {"weight": "weight", "bias": "bias"}
_STATIC = {"weight": "conv.weight"} | {f"bn.{kind}": f"bn.{kind}" for kind in _BATCH_NORM}
_SLICED = {
    "weight": "conv.conv.weight",
    "transforms.to5": "conv.7to5_matrix",
    "transforms.to3": "conv.5to3_matrix",
} | {f"bn.{kind}": f"bn.bn.{kind}" for kind in _BATCH_NORM}
_BARE_OPERATORS = ("se_reduce", "se_expand", "linear")


@dataclass(frozen=True, slots=True)
class Family:
    """One of once-for-all's published networks.

    Attributes:
        network: Its name in once-for-all's model zoo, which is that of its file.
        space: Search space that it is a supernet of.
        ends: Operators before and behind the blocks, ours and theirs.
        git_object: Id of the published file, which `git hash-object` prints.
    """

    network: str
    space: str
    ends: dict[str, str]
    git_object: str

    @property
    def published(self) -> PublishedWeights:
        """Where the file is.

        Source: `ofa/model_zoo.py` of mit-han-lab/once-for-all; ids of han-cai/files at a7c9bcd.
        """
        return PublishedWeights(self.network, f"{PUBLISHED}/ofa_nets/{self.network}", self.git_object)


_MOBILENET_V3 = {
    "stem.conv": "first_conv",
    "head_conv.conv": "final_expand_layer",
    "head_mix.conv": "feature_mix_layer",
    "classifier.linear": "classifier.linear",
}
_PROXYLESS = {
    "stem.conv": "first_conv",
    "head_conv.conv": "feature_mix_layer",
    "classifier.linear": "classifier.linear",
}
FAMILIES = (
    Family(
        "ofa_mbv3_d234_e346_k357_w1.0",
        "mobilenet_v3",
        _MOBILENET_V3,
        "55d835981d8acd1053657a951b18887a724ddcbf",
    ),
    Family(
        "ofa_mbv3_d234_e346_k357_w1.2",
        "mobilenet_v3_w1.2",
        _MOBILENET_V3,
        "d75a3613bae216091f61fc4b7df77d49cc82ed32",
    ),
    Family(
        "ofa_proxyless_d234_e346_k357_w1.3",
        "proxyless_w1.3",
        _PROXYLESS,
        "c97035a7a6fe611508f3bb35ffac0ef77262f5e0",
    ),
)


def read_official(path: Path) -> tuple[Supernet, SupernetCard]:
    """Read a checkpoint of once-for-all; its tensors tell which network it is.

    It is what `torch.save` made of a state dict, or of a dict with one under `state_dict`. Blocks may be
    named `mobile_inverted_conv`, as in the published files, or `conv`, as in later code; a prefix `module.`
    is dropped. Nothing but tensors is unpickled.

    Returns:
        The supernet, and a card that names file, digest and network.

    Raises:
        CheckpointError: The file cannot be read safely, is no such checkpoint, or a tensor is missing,
            unknown, of another shape, not finite, or a variance below 0.

    Source: Cai et al. 2020, arXiv:1908.09791; names of mit-han-lab/once-for-all.
    """
    content = read_bytes(path, error=CheckpointError, most=LARGEST)
    tensors = _spelt_as_now(unpickle_tensors(content, path, what=_NO_CHECKPOINT), path)
    family = _recognise(tensors, path)
    supernet = Supernet(SearchSpace.load(family.space))
    own = _under_their_names(supernet.state_dict(), family)
    tensors = {name: value for name, value in own.items() if name.endswith(_COUNTER)} | tensors
    check_tensors(tensors, own, where=f"{path}, read as {family.network}")
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(tensors[name])
    digest = hashlib.sha256(content).hexdigest()
    imported = {"network": family.network, "file": path.name, "sha256": digest}
    return supernet, official_card(supernet.space, imported)


def family_of_network(network: str) -> Family:
    """The family of a network by its name."""
    return next(family for family in FAMILIES if family.network == network)


def official_tensors(supernet: Supernet) -> dict[str, Tensor]:
    """A supernet's tensors under once-for-all's names, as its present code spells them (`blocks.1.conv…`).

    Raises:
        CheckpointError: The supernet's space is not one of once-for-all's; classes may differ.
    """
    tensors = _under_their_names(supernet.state_dict(), _family_of(supernet.space))
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def write_official(path: Path, supernet: Supernet) -> None:
    """Write a supernet as a checkpoint that once-for-all's `load_state_dict` takes.

    Raises:
        CheckpointError: As `official_tensors` does.
        FileError: The file cannot be written.
    """
    buffer = io.BytesIO()
    torch.save({"state_dict": official_tensors(supernet)}, buffer)
    write_bytes(path, buffer.getvalue())


def _spelt_as_now(content: object, path: Path) -> dict[str, Tensor]:
    """The tensors of a file under the names of once-for-all's present code."""
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: {_NO_CHECKPOINT}: expected a dict, got {type(content).__name__}")
    tensors: dict[str, Tensor] = {}
    for key, value in content.items():
        name = str(key).encode("unicode_escape").decode()  # whatever it holds, an error stays one line
        if not _is_plain(value):
            raise CheckpointError(f"{path}: {_NO_CHECKPOINT}: {name} is no tensor of numbers")
        name = name.removeprefix("module.").replace(".mobile_inverted_conv.", ".conv.")
        if name in tensors:
            raise CheckpointError(f"{path}: tensor {name} is there twice, in two spellings")
        tensors[name] = value
    return tensors


def _is_plain(value: object) -> bool:
    """Whether a value is a dense tensor in memory, of a kind of numbers that weights have."""
    if not isinstance(value, Tensor) or value.is_meta:
        return False
    return value.layout == torch.strided and value.dtype in _DTYPES


def _recognise(tensors: dict[str, Tensor], path: Path) -> Family:
    """The network that most tensors agree with by name and shape."""
    agreement, best = max(
        ((_agreement(tensors, family), family) for family in FAMILIES), key=lambda pair: pair[0]
    )
    if agreement == 0:
        raise CheckpointError(f"{path}: {_NO_CHECKPOINT}: no tensor is one of {_known_networks()}")
    return best


def _agreement(tensors: dict[str, Tensor], family: Family) -> int:
    with torch.device("meta"):  # names and shapes without memory
        blank = Supernet(SearchSpace.load(family.space)).state_dict()
    needed = _under_their_names(blank, family)
    return sum(name in tensors and tensors[name].shape == value.shape for name, value in needed.items())


def _family_of(space: SearchSpace) -> Family:
    for family in FAMILIES:
        official = SearchSpace.load(family.space)
        same = replace(official, classes=space.classes, resolutions=space.resolutions)
        if same.digest == space.digest:
            return family
    raise CheckpointError(f"{space.name} is the space of no network of once-for-all: {_known_networks()}")


def _known_networks() -> str:
    return ", ".join(f"{family.network} ({family.space})" for family in FAMILIES)


def _under_their_names(own: dict[str, Tensor], family: Family) -> dict[str, Tensor]:
    """A supernet's tensors, which come in the order of execution, under once-for-all's names."""
    number_of: dict[str, int] = {}
    tensors = {}
    for name, value in own.items():
        _, layer, operator, tensor = name.split(".", 3)
        place, kinds = family.ends.get(f"{layer}.{operator}"), _STATIC
        if place is None:
            number = number_of.setdefault(layer, len(number_of))
            place, kinds = f"blocks.{number}.conv.{_BLOCK[operator]}", _SLICED if number else _STATIC
        if operator in _BARE_OPERATORS:
            kinds = _BARE
        tensors[f"{place}.{kinds[tensor]}"] = value
    return tensors


def official_card(
    space: SearchSpace, imported: dict[str, str], *, published: PublishedWeights | None = None
) -> SupernetCard:
    """The card of a supernet that once-for-all trained on ImageNet.

    Args:
        space: That it is a supernet of.
        imported: What was read, and from which file.
        published: Where its weights are, if they do not come with the card.
    """
    return SupernetCard(
        space=space,
        data="imagenet",
        class_names=imagenet_class_ids(),
        input_mean=INPUT_MEAN,
        input_std=INPUT_STD,
        sha256="",
        made_by={"imported": imported, "provenance": record_provenance(seed=0).to_json()},
        published=published,
        licence=imported.get("licence", ""),
    )
