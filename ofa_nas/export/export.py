"""Extract a subnet, calibrate its batch norms, and write it as one ONNX file that says what it is."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import onnx

from ofa_nas.data import Normalization
from ofa_nas.errors import ArchitectureError, ConfigError, FileError
from ofa_nas.export.interface import SINGLE_PRECISION, FileForm, preprocessing_bytes
from ofa_nas.export.precision import Quantization, Trial, quantize_subnet, to_half
from ofa_nas.files import parse_json, read_bytes, write_bytes
from ofa_nas.onnx_writer import write_model
from ofa_nas.provenance import record_provenance
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.precision import FP16, FP32, INT8, peak_bytes, weight_bytes
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.supernet import Subnet, Supernet
from ofa_nas.supernet_card import SupernetCard
from ofa_nas.training.evaluate import Images, calibrated_subnet

_PREFIX = "ofa_nas."
Measured = Mapping[str, float | Mapping[str, float]]  # by name; latencies by name of the device
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
        form: Precision, batch and input.
        quantization: How it was quantised; None unless it is int8.
        measured: Figures of this very file when it was made, as `Delivery.measured` gives them.
        made_by: Versions of what made it, by name.
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
    form: FileForm = SINGLE_PRECISION
    quantization: Quantization | None = None
    measured: Measured = field(default_factory=dict)
    made_by: Mapping[str, str] = field(default_factory=dict)

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
            "precision": self.form.precision,
            "batch": "dynamic" if self.form.batch is None else str(self.form.batch),
            "preprocessing": self.form.has_preprocessing,
            "quantization": self.quantization.to_document() if self.quantization else None,
            "measured": self.measured,
            "made_by": dict(self.made_by),
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
                **_later(found),
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
            ConfigError,
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
    """Extract and calibrate the subnet of a card, and lower it to ONNX: fp32, a batch of one.

    Args:
        supernet: Its weights are not changed.
        card: What the file will say.
        calibration: `(n, S, S, 3)` uint8 training images.
    """
    subnet = calibrated_subnet(supernet, card.arch, images=calibration, normalization=card.normalization)
    name = f"{card.space.name} {card.arch}"
    model = write_model(subnet.walk, subnet.folded_weights(), name=name, metadata=card.to_metadata())
    return subnet, model


def give_form(
    model: onnx.ModelProto, card: ModelCard, *, calibration: Images
) -> Iterator[Trial | tuple[onnx.ModelProto, ModelCard]]:
    """Make of an fp32 model with a batch of one the file that its card describes.

    Args:
        model: As `export_subnet` gives it; it stays as it is.
        card: What the file will say.
        calibration: `(n, S, S, 3)` uint8 training images, for int8.

    Yields:
        Trials of int8 models, then the model and its card.
    """
    if card.form.precision == FP16:
        model = to_half(model)
    elif card.form.precision == INT8:
        for record in quantize_subnet(model, calibration, card.normalization):
            if isinstance(record, Trial):
                yield record
            else:
                model, found = record
                card = replace(card, quantization=found)
    model = card.form.apply(model, card.normalization)
    yield with_card(model, card), card


def exact_bytes(card: ModelCard) -> dict[str, float]:
    """Liveness and weights of a file, by what stays in fp32 in it [bytes]."""
    form, layers = card.form, list(card.space.layers(card.arch))
    kept = frozenset(card.quantization.kept if card.quantization else ())
    peaks = [peak_bytes(layer, form.precision, kept=kept) for layer in layers]
    if form.has_preprocessing:
        peaks.append(preprocessing_bytes(card.arch.resolution))
    return {
        "peak_activation_bytes": float((form.batch or 1) * max(peaks)),
        "weight_bytes": float(sum(weight_bytes(layer, form.precision, kept=kept) for layer in layers)),
    }


def describe_makers() -> dict[str, str]:
    """Versions of this tool and of those libraries that a file depends on."""
    made_by = record_provenance(seed=0)
    libraries = {name: made_by.libraries[name] for name in ("onnx", "onnxruntime")}
    return {"ofa_nas": made_by.version, "commit": made_by.commit, "made_on": made_by.made_on, **libraries}


def with_card(model: onnx.ModelProto, card: ModelCard) -> onnx.ModelProto:
    """The same model with another card."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    onnx.helper.set_model_props(copy, card.to_metadata())
    return copy


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


def _later(found: Mapping[str, str]) -> dict[str, Any]:
    """Those parts of a card that files of version 0.1 do not have."""
    batch, quantization = found.get("batch", "1"), parse_json(found.get("quantization", "null"))
    preprocessing = parse_json(found.get("preprocessing", "false"))
    if not isinstance(preprocessing, bool):
        raise TypeError("preprocessing must be true or false")
    return {
        "form": FileForm(
            found.get("precision", FP32), None if batch == "dynamic" else int(batch), preprocessing
        ),
        "quantization": None if quantization is None else Quantization.from_document(quantization),
        "measured": _measured(parse_json(found.get("measured", "{}"))),
        "made_by": {str(key): str(value) for key, value in parse_json(found.get("made_by", "{}")).items()},
    }


def _measured(document: Any) -> Measured:
    return {
        str(key): {str(name): float(one) for name, one in value.items()}
        if isinstance(value, dict)
        else float(value)
        for key, value in document.items()
    }


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
