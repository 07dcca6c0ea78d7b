"""The JSON sidecar of a supernet: space, classes, normalisation, and how it was made.

It lies on a low floor and imports no torch, so that a search can read it.
"""

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, Self, cast, get_args

from ofa_nas.assets import asset_folder, asset_names, find_asset
from ofa_nas.errors import CheckpointError
from ofa_nas.files import check_version, read_json, write_json
from ofa_nas.section import Section
from ofa_nas.space.search_space import SearchSpace

SCHEMA_VERSION = 1
LARGEST = 1e30  # of the normalisation: pixels are in [0, 255], and a sensor may count in anything
LEAST_STD = 1e-12  # of its deviations: single precision divides by them
LARGEST_IMAGE = 4096  # side [px] that a training may ask for
Fit = Literal["crop", "pad", "stretch"]  # how an image that is not square becomes so
FITS: tuple[Fit, ...] = get_args(Fit)
CROP: Fit = "crop"  # what cards and files without a word of it are
_KEYS = ("schema_version", "space", "data", "class_names", "input_mean", "input_std", "sha256", "made_by")


@dataclass(frozen=True, slots=True)
class PublishedWeights:
    """Weights that others publish.

    Attributes:
        network: Their name for it, which is that of the file.
        address: Where the file is.
        git_object: Id that `git hash-object` prints of the file.
    """

    network: str
    address: str
    git_object: str


@dataclass(frozen=True, slots=True)
class SupernetCard:
    """What is known of a supernet beside its weights.

    Attributes:
        space: Search space, with the classes it was trained on.
        data: Name of the data set.
        class_names: One a classifier output.
        input_mean: Per RGB channel, subtracted from pixels in [0, 255]; of signals, per sensor.
        input_std: Per channel, by which that is divided.
        sha256: Digest of the weights file; empty where the weights do not come with the card.
        made_by: Recipe, history of the training, provenance.
        published: Where the weights are that do not come with the card.
        licence: Terms of the weights, or of those that they began with; empty where nobody stated them.
        fit: How its images became square; see `ofa_nas.data.packed.square_pixels`.
    """

    space: SearchSpace
    data: str
    class_names: tuple[str, ...]
    input_mean: tuple[float, ...]
    input_std: tuple[float, ...]
    sha256: str
    made_by: dict[str, Any]
    published: PublishedWeights | None = None
    licence: str = ""
    fit: Fit = CROP

    def save(self, path: Path) -> None:
        """Write the sidecar."""
        document = {"schema_version": SCHEMA_VERSION, **asdict(self), "space": self.space.to_document()}
        for key in ("published", "licence"):
            if not document[key]:
                del document[key]
        if self.fit == CROP:
            del document["fit"]
        write_json(path, document)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a sidecar.

        Raises:
            CheckpointError: The file is missing or wrong; the message names the key.
        """
        document = read_json(path, error=CheckpointError)
        missing = [key for key in _KEYS if key not in document]
        if missing:
            raise CheckpointError(f"{path}: not the sidecar of a supernet: {', '.join(missing)} is missing")
        again, version = "train it again", "schema_version"
        check_version(document, version, reads=SCHEMA_VERSION, where=path, error=CheckpointError, again=again)
        root = Section(path, "", document, CheckpointError)
        card = cls(
            space=SearchSpace.from_document(root.section("space").content, path),
            data=root.text("data"),
            class_names=root.texts("class_names"),
            input_mean=_numbers(document, "input_mean", path),
            input_std=_numbers(document, "input_std", path),
            sha256=root.text("sha256"),
            made_by=root.section("made_by").content,
            published=_published(document, path),
            licence=root.text("licence", default=""),
            fit=cast(Fit, root.text("fit", default=CROP, choices=FITS)),
        )
        if not card.licence.isprintable():  # a terminal would obey it
            raise CheckpointError(f"{path}: licence: expected printable text, got {card.licence!r:.80}")
        if len(card.class_names) != card.space.classes:
            raise CheckpointError(
                f"{path}: {len(card.class_names)} class names for {card.space.classes} classifier outputs"
            )
        for key, values in (("input_mean", card.input_mean), ("input_std", card.input_std)):
            if len(values) != card.space.channels:
                raise CheckpointError(
                    f"{path}: {key}: {len(values)} numbers for {card.space.channels} channels of the input"
                )
        return card

    @property
    def image_size(self) -> int:
        """Side of the images that it was trained on [px], where one was asked for; else 0."""
        size_px = self.made_by.get("image_size")
        return size_px if isinstance(size_px, int) and 0 < size_px <= LARGEST_IMAGE else 0

    def with_digest(self, sha256: str) -> Self:
        """The same card for a weights file of this digest."""
        return replace(self, sha256=sha256)

    def check_weights(self, name: str) -> None:
        """Refuse a supernet whose weights others publish.

        Raises:
            CheckpointError: Says where they are, and what makes a supernet of them.
        """
        if self.published is None:
            return
        network = self.published.network
        raise CheckpointError(
            f"{name}: this supernet comes without weights. Fetch {self.published.address} (git hash-object "
            f"prints {self.published.git_object}), run ofa-nas import {network}, then ofa-nas bootstrap "
            f"--from runs/import/{network}.safetensors --data IMAGENET --output FILE.safetensors for the "
            "images beside it, and give --supernet FILE.safetensors; a search needs none of this"
        )


@dataclass(frozen=True, slots=True)
class SupernetFiles:
    """Where a supernet's files lie: beside its weights, under the same name.

    Attributes:
        weights: `NAME.safetensors`.
    """

    weights: Path

    @classmethod
    def find(cls, name_or_path: str | Path) -> Self:
        """The files of a shipped supernet, or of a user's own `.safetensors` file.

        The weights themselves may not be there: see `SupernetCard.check_weights`.

        Raises:
            CheckpointError: There is none; the message lists what ships. Or it is another file.
        """
        shipped, suffix = supernet_names(), ".safetensors"
        if name_or_path in shipped:
            return cls(asset_folder("supernets") / f"{name_or_path}{suffix}")
        own = cls(Path(name_or_path))
        if str(name_or_path).endswith(suffix) and own.card.is_file():
            return own
        found = find_asset("supernets", name_or_path, suffix=suffix, error=CheckpointError, shipped=shipped)
        if found.suffix != suffix:
            raise CheckpointError(f"{found}: no supernet: expected the path of a {suffix} file")
        return cls(found)

    @property
    def name(self) -> str:
        """Name of the supernet."""
        return self.weights.name.removesuffix(".safetensors")

    @property
    def card(self) -> Path:
        """What is known of it."""
        return self._beside("json")

    @property
    def predictor(self) -> Path:
        """Accuracy predictor."""
        return self._beside("predictor.json")

    @property
    def samples(self) -> Path:
        """Really evaluated subnets that the predictor is fitted to."""
        return self._beside("samples.jsonl")

    @property
    def calibration(self) -> Path:
        """Training images for batch norm statistics."""
        return self._beside("calibration.npz")

    @property
    def held_out(self) -> Path:
        """Images that neither training nor search ever saw, to check accuracy on."""
        return self._beside("heldout.npz")

    def _beside(self, suffix: str) -> Path:
        return self.weights.with_name(f"{self.name}.{suffix}")


def supernet_names() -> list[str]:
    """Names of the supernets that ship, sorted; some without weights."""
    names = asset_names("supernets", suffix=".json")
    return [name for name in names if not name.endswith(".predictor")]


def _published(document: dict[str, Any], path: Path) -> PublishedWeights | None:
    value = document.get("published")
    if value is None:
        return None
    keys = [field.name for field in fields(PublishedWeights)]
    if not isinstance(value, dict) or not all(isinstance(value.get(key), str) for key in keys):
        raise CheckpointError(f"{path}: published: expected an object with the texts {', '.join(keys)}")
    return PublishedWeights(**{key: value[key] for key in keys})


def is_statistic(value: Any) -> bool:
    """Whether it is a number that a mean or a deviation of inputs may be."""
    return type(value) in (int, float) and abs(value) <= LARGEST


def _numbers(document: dict[str, Any], key: str, path: Path) -> tuple[float, ...]:
    value = document[key]
    if not isinstance(value, list) or not value or not all(map(is_statistic, value)):
        raise CheckpointError(
            f"{path}: {key}: expected numbers, one a colour or sensor, up to {LARGEST:.0e}; got {value!r:.80}"
        )
    if key == "input_std" and min(value) < LEAST_STD:
        raise CheckpointError(
            f"{path}: {key}: expected numbers above 0, {LEAST_STD:g} at least; got {value!r:.80}"
        )
    return tuple(float(item) for item in value)
