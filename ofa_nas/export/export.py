"""Extract a subnet, calibrate its batch norms, and write it as one ONNX file that says what it is."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx

from ofa_nas.data import Normalization
from ofa_nas.errors import ArchitectureError, FileError
from ofa_nas.files import parse_json, read_bytes, write_bytes
from ofa_nas.onnx_writer import write_model
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.supernet import Subnet, Supernet
from ofa_nas.supernet_card import SupernetCard
from ofa_nas.training.evaluate import Images, calibrated_subnet

_PREFIX = "ofa_nas."
LARGEST_MODEL = 2 << 30  # bytes: no protocol buffer is larger


@dataclass(frozen=True, slots=True)
class PredictedLatency:
    """What a network takes on a device, as a latency table predicts it.

    Attributes:
        device: Name of the table.
        provenance: Of the table: `measured`, `estimated` or `imported`.
        latency_ms: Of one image.
    """

    device: str
    provenance: str
    latency_ms: float


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What an exported file says of itself, in its ONNX metadata.

    Attributes:
        arch: The architecture.
        space: Its search space, with the classes of the supernet.
        supernet: Name of the supernet that it comes from.
        supernet_sha256: Digest of that supernet's weights.
        data: Data set.
        class_names: One a logit.
        normalization: Input = (pixel − mean) / std, RGB, pixels in [0, 255].
        predicted: Predicted figures by name (`accuracy`, `macs`, …), latencies aside.
        latencies: One a device, in the order of the search.
    """

    arch: Architecture
    space: SearchSpace
    supernet: str
    supernet_sha256: str
    data: str
    class_names: tuple[str, ...]
    normalization: Normalization
    predicted: Mapping[str, float]
    latencies: tuple[PredictedLatency, ...] = ()

    def to_metadata(self) -> dict[str, str]:
        """Text properties of the model."""
        values: dict[str, object] = {
            "arch": str(self.arch),
            "space": self.space.to_document(),
            "supernet": self.supernet,
            "supernet_sha256": self.supernet_sha256,
            "data": self.data,
            "class_names": self.class_names,
            "input_mean": self.normalization.mean,
            "input_std": self.normalization.std,
            "predicted": dict(self.predicted),
            "latencies": [asdict(one) for one in self.latencies],
        }
        return {
            _PREFIX + key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for key, value in values.items()
        }

    @classmethod
    def from_model(cls, model: onnx.ModelProto, path: Path) -> "ModelCard":
        """Read the card of an exported file.

        Raises:
            FileError: The file was not exported by this tool, or its card is damaged.
        """
        found = {item.key.removeprefix(_PREFIX): item.value for item in model.metadata_props}
        try:
            space = SearchSpace.from_document(parse_json(found["space"]), path)
            return cls(
                arch=space.parse(found["arch"]),
                space=space,
                supernet=found["supernet"],
                supernet_sha256=found["supernet_sha256"],
                data=found["data"],
                class_names=_class_names(parse_json(found["class_names"]), space.classes),
                normalization=_normalization(parse_json(found["input_mean"]), parse_json(found["input_std"])),
                predicted={str(key): float(value) for key, value in parse_json(found["predicted"]).items()},
                latencies=tuple(map(_latency, parse_json(found["latencies"]))),
            )
        except KeyError as error:
            raise FileError(
                f"{path}: its metadata lack {error.args[0]!r}: not exported by this version of ofa-nas"
            ) from error
        except (
            ArchitectureError,
            ArithmeticError,
            ValueError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as error:
            raise FileError(f"{path}: its metadata are damaged: {error}") from error


def model_card(
    name: str, card: SupernetCard, arch: Architecture, predicted: Mapping[str, float]
) -> ModelCard:
    """The card of a subnet of the supernet `name`, without a latency."""
    mean, std = card.input_mean, card.input_std
    return ModelCard(
        arch=arch,
        space=card.space,
        supernet=name,
        supernet_sha256=card.sha256,
        data=card.data,
        class_names=card.class_names,
        normalization=_normalization(list(mean), list(std)),
        predicted=predicted,
    )


def export_subnet(
    supernet: Supernet, card: ModelCard, *, calibration: Images
) -> tuple[Subnet, onnx.ModelProto]:
    """Extract and calibrate the subnet of a card, and lower it to ONNX.

    Args:
        supernet: Its weights are not changed.
        card: What the file will say.
        calibration: `(n, S, S, 3)` uint8 training images.
    """
    subnet = calibrated_subnet(supernet, card.arch, images=calibration, normalization=card.normalization)
    name = f"{card.space.name} {card.arch}"
    model = write_model(subnet.walk, subnet.folded_weights(), name=name, metadata=card.to_metadata())
    return subnet, model


def save_model(path: Path, model: onnx.ModelProto) -> None:
    """Write an ONNX file."""
    write_bytes(path, model.SerializeToString())


def read_model(path: Path) -> onnx.ModelProto:
    """Read an ONNX file, without ever following references to other files.

    Raises:
        FileError: It is missing or no ONNX model.
    """
    content = read_bytes(path, error=FileError, most=LARGEST_MODEL)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
        refers_elsewhere = _has_external_data(model)
        if not refers_elsewhere:
            onnx.checker.check_model(model)
    except Exception as error:
        raise FileError(f"{path}: not a valid ONNX model: {_first_line(error)}") from error
    if refers_elsewhere:
        raise FileError(f"{path}: keeps weights in another file; ofa-nas writes and reads single files only")
    return model


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]


def _has_external_data(message: Any) -> bool:
    """Whether a tensor anywhere inside a protobuf message lies in another file."""
    if isinstance(message, onnx.TensorProto) and message.data_location == onnx.TensorProto.EXTERNAL:
        return True
    values = [value for field, value in message.ListFields() if field.message_type is not None]
    parts = [part for value in values for part in ([value] if hasattr(value, "ListFields") else value)]
    return any(map(_has_external_data, parts))


def _class_names(names: Any, count: int) -> tuple[str, ...]:
    if not isinstance(names, list) or len(names) != count:
        raise ValueError(f"class_names must be a list of {count} names")
    return tuple(map(str, names))


def _latency(document: Any) -> PredictedLatency:
    if not isinstance(document, dict) or document.keys() != {"device", "provenance", "latency_ms"}:
        raise ValueError("latencies must be a list of objects with device, provenance and latency_ms")
    latency_ms = float(document["latency_ms"])
    if not 0.0 < latency_ms < math.inf:
        raise ValueError("latency_ms must be above 0")
    return PredictedLatency(str(document["device"]), str(document["provenance"]), latency_ms)


def _normalization(mean: list[float], std: list[float]) -> Normalization:
    for values in (mean, std):
        if not isinstance(values, list) or len(values) != 3 or not all(map(math.isfinite, values)):
            raise ValueError("input_mean and input_std must be three numbers each")
    if min(std) <= 0:
        raise ValueError("input_std must be above 0")
    return Normalization(
        (float(mean[0]), float(mean[1]), float(mean[2])), (float(std[0]), float(std[1]), float(std[2]))
    )
