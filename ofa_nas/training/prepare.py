"""From names on a command line to what `train` takes: decoded splits, and a supernet with first weights."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ofa_nas.data import DataSet, Normalization, Source
from ofa_nas.data.packed import PackedImages, PackProgress, default_pack_folder, pack_images
from ofa_nas.errors import ConfigError
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.bootstrap import bootstrap
from ofa_nas.supernet.supernet import Supernet
from ofa_nas.training.train import TrainingData


@dataclass(frozen=True, slots=True)
class SplitSizes:
    """How many images serve beside training; both are drawn by `seed`.

    Attributes:
        held_out: Validation images of the reports.
        calibration: Training images of the batch norm statistics.
        seed: Of the draw.
    """

    held_out: int = 1000
    calibration: int = 500
    seed: int = 0


def pack_split(source: Source, *, size_px: int | None = None) -> Iterator[PackProgress]:
    """Decode a split into the user's cache folder, at its native size unless another is given."""
    size_px = size_px or source.size_px
    return pack_images(source, default_pack_folder(source, size_px=size_px), size_px=size_px)


def training_data(
    train: PackedImages, val: PackedImages, sizes: SplitSizes, *, normalization: Normalization
) -> TrainingData:
    """Draw the images of the reports and of the calibration."""
    rng = np.random.default_rng([sizes.seed, 2])
    held_out = np.sort(rng.permutation(len(val))[: sizes.held_out])
    calibration = rng.permutation(len(train))[: sizes.calibration]
    return TrainingData(
        train=train,
        held_out=val.subset(held_out),
        calibration=train.subset(calibration).images,
        normalization=normalization,
    )


def first_supernet(
    space: SearchSpace, data: DataSet, *, start: str | None, seed: int, device: torch.device
) -> Supernet:
    """A supernet for the classes of a data set, from noise or from a pretrained network (`start`)."""
    generator = torch.Generator().manual_seed(seed)
    space = space.with_classes(len(data.class_names))
    if start is None:
        supernet = Supernet(space, generator)
    else:
        supernet = bootstrap(start, space=space, class_ids=data.train.class_ids, generator=generator)
    supernet.to(device)
    supernet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stub lacks it
    return supernet


def pick_device(name: str) -> torch.device:
    """The torch device of a name: `auto`, `cpu`, `cuda`, `cuda:1`.

    Raises:
        ConfigError: There is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"--device {name}: expected auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"--device {name}: expected auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"--device {name}: torch sees {torch.cuda.device_count()} CUDA devices here")
    return device
