"""What is at hand of where an exported file came from: its network in torch, and images to judge it on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ofa_nas.data.dataset import open_like
from ofa_nas.data.packed import PackedImages
from ofa_nas.data.sample import decode
from ofa_nas.data.windows import split_windows
from ofa_nas.errors import CheckpointError, ConfigError, OfaNasError
from ofa_nas.export.card import ModelCard
from ofa_nas.pipeline.evaluating.evaluation import check_classes
from ofa_nas.pipeline.evaluating.images import supernet_images
from ofa_nas.plugins import is_trusted, plugin_names, trusted_help
from ofa_nas.supernet.checkpoint import load_supernet
from ofa_nas.supernet.supernet import Subnet
from ofa_nas.supernet_card import SupernetCard, SupernetFiles
from ofa_nas.training.evaluate import calibrated_subnet
from ofa_nas.training.splits import held_out_half

_MOST_IMAGES = 2000  # as ship beside a supernet


@dataclass(frozen=True)
class Original:
    """Where a file came from, as far as it is at hand.

    Attributes:
        subnet: What was exported, in torch; None where its supernet is not here, or is another one by now.
        held_out: Images that neither training nor search saw, or those given; None where there are none.
        missing: What cannot be checked therefore, and why; a sentence each.
    """

    subnet: Subnet | None
    held_out: PackedImages | None
    missing: tuple[str, ...] = ()


def find_original(
    path: Path, card: ModelCard, supernet: str | None, *, given: PackedImages | None = None
) -> Original:
    """Look for the supernet of a file and for images.

    Args:
        path: Of the file, for messages.
        card: Of the file.
        supernet: Where it came from; None for the shipped one that the file names.
        given: Images to judge it by; None for those that nothing was trained on or chosen by.

    Raises:
        CheckpointError: A supernet that was given is not there or is another; one that is there is damaged.
    """
    try:
        files = find_source(path, card, supernet)
    except CheckpointError as error:
        if supernet is not None:
            raise
        return _without(card, None, str(error), given)
    found = SupernetCard.load(files.card)
    if found.published is not None:
        return _without(card, files, f"the supernet {card.supernet} ships without weights", given)
    if found.sha256 != card.supernet_sha256:
        versions = f"{card.supernet_sha256[:12]}, not {found.sha256[:12]}"
        has_images = _is_same_data(card, found) and card.fit == found.fit
        told = f"{path} is of another version of the supernet {card.supernet}: {versions}"
        return _without(card, files if has_images else None, told, given)
    held_out = given or supernet_images(files.held_out, "held-out")
    network, _ = load_supernet(files)
    calibration = supernet_images(files.calibration, "calibration")
    subnet = calibrated_subnet(
        network, card.arch, images=calibration.images, normalization=card.normalization
    )
    return Original(subnet, held_out)


def find_source(path: Path, card: ModelCard, supernet: str | None) -> SupernetFiles:
    """The supernet that a file came from.

    Args:
        path: Of the file.
        card: Of the file.
        supernet: Where it is; None for the shipped one that the file names.

    Raises:
        CheckpointError: It is not there, or what was given is another supernet; a later version of the same
            is left to the caller.
    """
    try:
        files = SupernetFiles.find(supernet or card.supernet)
    except CheckpointError as error:
        if supernet is not None:
            raise
        raise CheckpointError(
            f"{path} was exported from the supernet {card.supernet!r}, which does not ship; "
            "give its .safetensors file with --supernet"
        ) from error
    if supernet is not None:
        _refuse_another(path, card, files, supernet)
    return files


def _refuse_another(path: Path, card: ModelCard, files: SupernetFiles, given: str) -> None:
    found = SupernetCard.load(files.card)
    if found.sha256 == card.supernet_sha256 or (files.name == card.supernet and _is_same_data(card, found)):
        return
    own = f"{card.supernet} ({card.data}, {len(card.class_names)} classes)"
    raise CheckpointError(
        f"--supernet {given}: {path} was exported from the supernet {own}, not from {files.name} "
        f"({found.data}, {len(found.class_names)} classes)"
    )


def _is_same_data(card: ModelCard, found: SupernetCard) -> bool:
    return (found.data, found.class_names) == (card.data, card.class_names)


def _without(
    card: ModelCard, files: SupernetFiles | None, reason: str, given: PackedImages | None
) -> Original:
    """No network in torch, but maybe images: those of a supernet of the same data, or the data set's own."""
    missing = [f"not compared with torch: {reason}"]
    if given is not None:
        return Original(None, given, tuple(missing))
    try:
        if files is not None and files.held_out.is_file():
            held_out: PackedImages | None = supernet_images(files.held_out, "held-out")
        else:
            held_out = _images_of(card)
    except OfaNasError as error:
        held_out = None
        missing.append(f"accuracy not measured: no images of {card.data} are at hand ({error})")
    return Original(None, held_out, tuple(missing))


def _images_of(card: ModelCard) -> PackedImages:
    """Images of the data set that a file names, of the half that only verification looks at.

    The file may be a stranger's: it opens no folder of its choice, and runs no module.
    """
    name, names = split_windows(card.data)[0], plugin_names("data.sources")
    if name not in names and not is_trusted(name):
        raise ConfigError(f"a file may name one of {', '.join(names)}, {trusted_help()}")
    val = open_like(card.data, card).val
    check_classes(val, card.class_names)
    rows = held_out_half(val)
    few = np.linspace(0, len(rows) - 1, num=min(len(rows), _MOST_IMAGES)).round().astype(int)
    return decode(val.subset(rows[few]))
