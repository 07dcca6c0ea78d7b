"""The file of a predictor: JSON with its kind, its numbers, and what they were fitted to."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ofa_nas.accuracy import MOST_IMAGES, Draw
from ofa_nas.errors import CheckpointError, ConfigError
from ofa_nas.files import check_version, read_json, write_json
from ofa_nas.predictors import PopulationPredictor, Predictor, load_module
from ofa_nas.provenance import Provenance
from ofa_nas.section import Section
from ofa_nas.space.encoding import Encoding

FORMAT = "ofa-nas accuracy predictor"
VERSION = 2
NO_INTERVAL = "no interval until ofa-nas predictor fit, for the file does not tell its images"
_UNREADABLE = (ArithmeticError, AttributeError, ConfigError, LookupError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class PredictorFile:
    """A predictor with what its file says about it.

    Attributes:
        predictor: Ready to predict, with intervals that hold for any images of the kind.
        kind: Name of its module.
        description: What accuracy it predicts: data set, split, weights.
        provenance: What made it, as stored.
    """

    predictor: PopulationPredictor
    kind: str
    description: str
    provenance: dict[str, Any]


def save_predictor(
    path: Path,
    predictor: Predictor,
    *,
    kind: str,
    encoding: Encoding,
    weights: str,
    description: str,
    provenance: Provenance,
) -> None:
    """Write a predictor as JSON.

    Args:
        path: Where to.
        predictor: Fitted; a `PopulationPredictor`, which tells the draw of images, for a file with intervals.
        kind: Name of its module.
        encoding: Of the space that it was fitted on.
        weights: Digest of the supernet's weights that it was fitted on.
        description: What accuracy it predicts.
        provenance: What made it.

    Raises:
        ConfigError: Its module cannot read what it would be written as; nothing is written.
    """
    parameters = _parameters(predictor, encoding, kind=kind)
    space = {"name": encoding.space.name, "digest": encoding.space.digest}
    document = {
        "format": FORMAT,
        "version": VERSION,
        "kind": kind,
        "space": space,
        "weights": weights,
        "description": description,
    }
    if isinstance(predictor, PopulationPredictor) and predictor.draw is not None:
        document["draw"] = asdict(predictor.draw)
    write_json(path, document | {"provenance": provenance.to_json(), "parameters": parameters})


def _parameters(predictor: Predictor, encoding: Encoding, *, kind: str) -> Any:
    try:
        parameters = json.loads(json.dumps(predictor.to_json(), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{kind}: to_json: gave what is no JSON: {error!s:.200}") from error
    try:
        load_module(kind).from_json(encoding, parameters)
    except _UNREADABLE as error:
        told = f"{type(error).__name__}: {error!s:.200}"
        raise ConfigError(f"{kind}: from_json: cannot read what to_json gave: {told}") from error
    return parameters


def load_predictor(path: Path, encoding: Encoding, *, weights: str) -> PredictorFile:
    """Read a predictor that `save_predictor` wrote for the same space and the same weights.

    Raises:
        CheckpointError: It is no predictor, of another version, of another space, or of other weights.
    """
    content = read_json(path, error=CheckpointError)
    if content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: no predictor: expected format {FORMAT!r}")
    again = "fit it again: ofa-nas predictor fit"
    check_version(content, "version", reads=VERSION, where=path, error=CheckpointError, again=again)
    space = content.get("space")
    if not isinstance(space, dict) or space.get("digest") != encoding.space.digest:
        name = space.get("name") if isinstance(space, dict) else None
        raise CheckpointError(
            f"{path}: made for search space {str(name)[:60]!r}, not for this {encoding.space.name} "
            f"(digest {encoding.space.digest}); fit a predictor for it"
        )
    if content.get("weights") != weights:
        raise CheckpointError(
            f"{path}: fitted to other weights than those that now lie beside it; collect samples of these "
            "and fit it again: ofa-nas predictor collect, ofa-nas predictor fit"
        )
    section = Section(path, "", content, CheckpointError)
    draw = _read_draw(section)
    try:
        kind = section.plugin("kind", "predictors")
        module = load_module(kind)
    except ConfigError as error:
        raise CheckpointError(f"{path}: kind: {error}") from error
    try:
        fitted = module.from_json(encoding, content["parameters"])
        description, provenance = section.text("description"), section.section("provenance").content
        if draw is None and fitted.half_widths(encoding.encode([encoding.space.smallest])).any():
            description += f"; {NO_INTERVAL}"
        return PredictorFile(PopulationPredictor(fitted, draw), kind, description, provenance)
    except _UNREADABLE as error:
        raise CheckpointError(f"{path}: a value is missing or wrong: {error!s:.200}; fit it again") from error


def _read_draw(section: Section) -> Draw | None:
    if section.lacks("draw"):
        return None
    found = section.section("draw")
    images, subnets = (found.integer(key, maximum=MOST_IMAGES) for key in ("images", "subnets"))
    share = None if found.lacks("own_share") else found.number("own_share", minimum=0.0, maximum=1.0)
    found.close()
    return Draw(images, subnets, share)
