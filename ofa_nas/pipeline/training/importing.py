"""Files of once-for-all as supernets of ours: a checkpoint, or the accuracy predictor without weights."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ofa_nas.errors import ConfigError
from ofa_nas.files import check_folder_writable, check_writable
from ofa_nas.predictor_file import load_predictor, save_predictor
from ofa_nas.provenance import record_provenance
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.checkpoint import save_supernet
from ofa_nas.supernet.official import family_of_network, official_card, read_official
from ofa_nas.supernet.official_predictor import (
    DESCRIPTION,
    NETWORK,
    ORIGIN,
    SHA256,
    is_official_predictor,
    read_official_predictor,
)
from ofa_nas.supernet_card import SupernetCard, SupernetFiles

FOLDER = Path("runs/import")
SHIPPED = "ofa-imagenet"  # the supernet that is the published predictor
_KIND = "mlp"


@dataclass(frozen=True, slots=True)
class ImportedSupernet:
    """What an import wrote.

    Attributes:
        files: Card, and weights or predictor or both.
        card: As written.
        has_predictor: Whether an accuracy predictor was written.
    """

    files: SupernetFiles
    card: SupernetCard
    has_predictor: bool


def import_official(path: Path, *, output: Path | None) -> ImportedSupernet:
    """Read a file of once-for-all and write it as a supernet.

    A checkpoint of the network that the published predictor predicts gets that predictor; a predictor
    becomes a supernet without weights, which can be searched.

    Args:
        path: Checkpoint, or `acc_predictor.pth`.
        output: Weights file, `….safetensors`, beside which the rest goes; None for one in `runs/import`.

    Raises:
        ConfigError: The output is no such file name.
        FileError: The output cannot be written.
        CheckpointError: The file is neither, or it is damaged.
    """
    if output is None:
        check_folder_writable(FOLDER)
    elif output.suffix != ".safetensors" or output.is_dir():
        raise ConfigError(f"--output {output}: expected the name of a .safetensors file")
    else:
        check_writable(output, option="--output")
    return _import_predictor(path, output) if is_official_predictor(path) else _import_network(path, output)


def _import_network(path: Path, output: Path | None) -> ImportedSupernet:
    supernet, card = read_official(path)
    network = card.made_by["imported"]["network"]
    files = SupernetFiles(output or FOLDER / f"{network}.safetensors")
    save_supernet(files, supernet, card)
    has_predictor = network == NETWORK
    if has_predictor:
        _add_published_predictor(files)
    return ImportedSupernet(files, SupernetCard.load(files.card), has_predictor)


def _add_published_predictor(files: SupernetFiles) -> None:
    """Write the shipped predictor beside weights, as a predictor of theirs."""
    card = SupernetCard.load(files.card)
    encoding = Encoding.of(card.space)
    known = load_predictor(SupernetFiles.find(SHIPPED).predictor, encoding, weights="")
    save_predictor(
        files.predictor,
        known.predictor,
        kind=_KIND,
        encoding=encoding,
        weights=card.sha256,
        description=known.description,
        provenance=record_provenance(seed=0),
    )


def _import_predictor(path: Path, output: Path | None) -> ImportedSupernet:
    family = family_of_network(NETWORK)
    space = SearchSpace.load(family.space)
    encoding = Encoding.of(space)
    predictor = read_official_predictor(path, encoding)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    imported = {"network": NETWORK, "file": path.name, "sha256": digest}
    description = f"ImageNet top-1, predicted by {path.name} (SHA-256 {digest[:12]}), no interval"
    if digest == SHA256:
        imported, description = imported | ORIGIN, DESCRIPTION
    card = official_card(space, imported, published=family.published)
    files = SupernetFiles(output or FOLDER / f"{path.stem}.safetensors")
    if files.weights.exists():
        raise ConfigError(
            f"--output {files.weights}: has weights, and this would replace their card; give a new name"
        )
    save_predictor(
        files.predictor,
        predictor,
        kind=_KIND,
        encoding=encoding,
        weights=card.sha256,
        description=description,
        provenance=record_provenance(seed=0),
    )
    card.save(files.card)
    return ImportedSupernet(files, card, has_predictor=True)
