"""From what exists to a supernet's files without training, and beside them the images of a data set."""

from dataclasses import dataclass
from pathlib import Path

import torch

from ofa_nas.data import check_input
from ofa_nas.data.dataset import open_like
from ofa_nas.errors import ConfigError
from ofa_nas.files import check_writable, moving_together, write_bytes
from ofa_nas.pipeline.training.training_run import save_images, warn_of_size
from ofa_nas.provenance import record_provenance
from ofa_nas.randomness import MOST_SEED, checked_seed
from ofa_nas.supernet.bootstrap import open_start, start_supernet
from ofa_nas.supernet.checkpoint import save_supernet
from ofa_nas.supernet_card import Fit, SupernetCard, SupernetFiles
from ofa_nas.training.splits import SplitSizes, check_halves


@dataclass(frozen=True, slots=True)
class StartedSupernet:
    """A supernet that was not trained here.

    Attributes:
        files: Weights and card, the images where there is a data set, and the start's accuracy predictor
            where it holds for these weights too.
        start: What the weights come from.
        classes: Outputs of its classifier.
        keeps_classifier: The start knew every class; else the classifier is random and has to be trained.
        licence: Terms of the weights; empty where nobody stated them.
    """

    files: SupernetFiles
    start: str
    classes: int
    keeps_classifier: bool
    licence: str


def bootstrap_supernet(
    start: str,
    *,
    output: Path,
    data: str | None,
    space: str | None = None,
    seed: int = 0,
    fit: Fit | None = None,
) -> StartedSupernet:
    """Write what exists as a supernet; its largest subnet computes what the start does.

    Args:
        start: As `open_start` takes it.
        output: Weights file, `….safetensors`; the others go beside it.
        data: Data set whose classes become the outputs and whose images are kept for calibration and
            verification; without one the classes are those of the start, and there are no images.
        space: As `open_start` takes it.
        seed: Of a new classifier and of the draw of images.
        fit: How the images of the data set become square; None for that of the start.

    Raises:
        ConfigError: The output is no such file name, there is no such start or data set, the space has
            other weights, or the seed is none.
        SpaceError: There is no such space.
        FileError: The output cannot be written.
        CheckpointError: The start is damaged or does not fit its space.
        DataError: The data are wrong, too few, or signals where the start takes images.
    """
    seed = checked_seed(seed, most=MOST_SEED)
    if fit is not None and data is None:
        raise ConfigError(f"--fit {fit} is how the images of a data set become square: give --data")
    if output.suffix != ".safetensors" or output.is_dir():
        raise ConfigError(f"--output {output}: expected the name of a .safetensors file")
    files = SupernetFiles(output)
    for path in (files.weights, files.card, files.predictor, files.calibration, files.held_out):
        check_writable(path, option="--output")
    own = open_start(start, space=space)
    source = None if data is None else open_like(data, own, fit=fit)
    if source is not None:
        check_input(source.train, own.space)
        check_halves(source)
        warn_of_size(source.train, own.image_size or None, max(own.space.resolutions))
    class_ids = () if source is None else source.train.class_ids
    class_names = own.class_names if source is None else source.class_names
    supernet = start_supernet(
        own, class_ids=class_ids, class_names=class_names, generator=torch.Generator().manual_seed(seed)
    )
    card = SupernetCard(
        space=supernet.space,
        data=own.data if source is None else source.name,
        class_names=class_names,
        input_mean=own.input_mean,
        input_std=own.input_std,
        sha256="",
        made_by={
            "start": own.name,
            **({"image_size": own.image_size} if own.image_size else {}),
            "provenance": record_provenance(seed=seed).to_json(),
        },
        licence=own.licence,
        fit=own.fit if source is None else source.train.fit,
    )
    with moving_together(output.parent) as folder:
        written = SupernetFiles(folder / output.name)
        if source is not None:
            save_images(written, source, SplitSizes(seed=seed), image_size=own.image_size)
        save_supernet(written, supernet, card)
        _bring_predictor(own.files, written)
    rows = own.rows_of(class_ids=class_ids, class_names=class_names)
    return StartedSupernet(
        files, own.name, len(class_names), keeps_classifier=rows is not None, licence=own.licence
    )


def _bring_predictor(start: SupernetFiles | None, written: SupernetFiles) -> None:
    """Copy the accuracy predictor of a start whose weights, space and fit are written again as they are."""
    if start is None or not start.predictor.is_file():
        return
    old, new = SupernetCard.load(start.card), SupernetCard.load(written.card)
    if (old.sha256, old.space.digest, old.fit) == (new.sha256, new.space.digest, new.fit):
        write_bytes(written.predictor, start.predictor.read_bytes())
