"""The images that lie beside a supernet's weights."""

from pathlib import Path

from ofa_nas.data.packed import PackedImages
from ofa_nas.data.sample import load_images
from ofa_nas.errors import CheckpointError


def check_images(path: Path, what: str) -> None:
    """Refuse a supernet that lacks its `calibration` or `held-out` images.

    Raises:
        CheckpointError: There is no such file; the message tells what writes it.
    """
    if not path.is_file():
        raise CheckpointError(
            f"{path}: the supernet's {what} images are missing; ofa-nas train, and "
            "ofa-nas bootstrap with --data, write them beside the weights"
        )


def supernet_images(path: Path, what: str) -> PackedImages:
    """Decode the `calibration` or `held-out` images of a supernet.

    Raises:
        CheckpointError: They are missing.
        DataError: The file is damaged.
    """
    check_images(path, what)
    return load_images(path)
