"""What an exported file says of itself in its ONNX metadata, and reading such files. Imports no torch."""

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import onnx

from ofa_nas.data import LONGEST_WINDOW, Normalization
from ofa_nas.devices import HOST, agent
from ofa_nas.devices.provided import provided_name, with_provider
from ofa_nas.errors import ArchitectureError, ConfigError, FileError
from ofa_nas.export.interface import SINGLE_PRECISION, FileForm
from ofa_nas.files import parse_json, read_bytes
from ofa_nas.precisions import FP32
from ofa_nas.section import shown
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet_card import CROP, FITS, LARGEST, LEAST_STD, Fit, is_statistic

_PREFIX = "ofa_nas."
MeasuredFigures = Mapping[str, float | Mapping[str, float]]  # by name; latencies by name of the device
LARGEST_MODEL = 2 << 30  # bytes: no protocol buffer is larger
_LARGEST = 1e18  # figure of a card
_BOUNDS = {"accuracy": (0.0, 1.0), "agreement": (0.0, 1.0), "accuracy_drop": (-1.0, 1.0)}  # of others 0 up


@dataclass(frozen=True, slots=True)
class Quantization:
    """How a file was quantised, and what that was seen to cost on calibration images.

    Attributes:
        method: That made ranges of what activations showed; the best of three on these images.
        distortion: Squared error of the logits over their variance along the classes.
        agreement: Share of images whose most likely class is that of the fp32 network.
        images: Judged on; the ranges come from others.
        kept: Nodes left in fp32, the worst first.
    """

    method: str
    distortion: float
    agreement: float
    images: int
    kept: tuple[str, ...] = ()

    @classmethod
    def from_document(cls, document: Any) -> "Quantization":
        """Read what `dataclasses.asdict` made.

        Raises:
            ValueError, TypeError: It is not that.
        """
        if not isinstance(document, dict) or document.keys() != set(cls.__slots__):
            raise ValueError(f"quantization must be an object with {', '.join(cls.__slots__)}")
        kept = document["kept"]
        if not isinstance(kept, list):
            raise TypeError("quantization: kept must be a list of names")
        return cls(
            str(document["method"]),
            _number("distortion", document["distortion"]),
            _number("agreement", document["agreement"]),
            int(_number("images", document["images"])),
            tuple(map(str, kept)),
        )


@dataclass(frozen=True, slots=True)
class PredictedLatency:
    """What a network takes on a device, as a latency table predicts it.

    Attributes:
        device: Name of the table.
        provenance: Of the table: `measured`, `estimated` or `imported`.
        latency_ms: Of one image.
        provider: Execution provider of the table, with its options; empty for ONNX Runtime's own on the CPU,
            None where nobody knows, as of an estimated table.
    """

    device: str
    provenance: str
    latency_ms: float
    provider: str | None = None

    @property
    def address(self) -> str:
        """Address to check it at, as far as it is known."""
        provider = self.provider or ""
        is_ours = self.device == provided_name(HOST, provider)
        return with_provider(HOST if is_ours else "ssh://USER@HOST", provider)


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
        normalization: Input = (pixel − mean) / std, RGB, pixels in [0, 255]; of signals, by sensor.
        predicted: Predicted figures by name (`accuracy`, `macs`, …), latencies aside.
        latencies: One a device, in the order of the search.
        form: Precision, batch and input.
        quantization: How it was quantised; None unless it is int8.
        measured: Figures of this very file when it was made, as `Delivery.measured` gives them.
        made_by: Versions of what made it, by name.
        licence: Terms of the supernet's weights, as its card has them; empty where nobody stated them.
        fit: How images are to become square; the metadata of one that crops do not tell it.
        window: Samples of a signal that the caller resizes to the input's length; 0 for images, and where
            nobody told.
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
    measured: MeasuredFigures = field(default_factory=dict)
    made_by: Mapping[str, str] = field(default_factory=dict)
    licence: str = ""
    fit: Fit = CROP
    window: int = 0

    def to_document(self) -> dict[str, Any]:
        """Plain values for a JSON document."""
        return {
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
            "quantization": asdict(self.quantization) if self.quantization else None,
            "measured": self.measured,
            "made_by": dict(self.made_by),
            "licence": self.licence,
            **({} if self.fit == CROP else {"fit": self.fit}),
            **({"window": self.window} if self.window else {}),
        }

    def to_metadata(self) -> dict[str, str]:
        """Text properties of the model."""
        values = self.to_document()
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
                normalization=make_normalization(
                    parse_json(found["input_mean"]), parse_json(found["input_std"]), channels=space.channels
                ),
                predicted=_figures(parse_json(found["predicted"])),
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
            raise FileError(f"{path}: its metadata are damaged: {error!s:.300}") from error


def with_card(model: onnx.ModelProto, card: ModelCard) -> onnx.ModelProto:
    """The same model with another card."""
    copy = deepcopy(model)
    onnx.helper.set_model_props(copy, card.to_metadata())
    return copy


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
        for entry in model.opset_import:
            entry.domain = entry.domain if entry.domain != "ai.onnx" else ""  # which onnx before 1.23 refuses
        if not refers_elsewhere:
            onnx.checker.check_model(model)
    except Exception as error:
        raise FileError(f"{path}: not a valid ONNX model: {_first_line(error)}") from error
    if refers_elsewhere:
        raise FileError(f"{path}: keeps weights in another file; ofa-nas writes and reads single files only")
    return model


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]


def describe_interface(model: onnx.ModelProto) -> dict[str, Any]:
    """Input, output and versions of a model, as plain values for a JSON document."""
    ends = {"input": model.graph.input[0], "output": model.graph.output[0]}
    return {
        **{
            way: {
                "name": value.name,
                "shape": [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim],
                "type": onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower(),
            }
            for way, value in ends.items()
        },
        "opset": max((entry.version for entry in model.opset_import if not entry.domain), default=0),
        "ir_version": model.ir_version,
    }


def _has_external_data(message: Any) -> bool:
    """Whether a tensor anywhere inside a protobuf message lies in another file."""
    if isinstance(message, onnx.TensorProto) and message.data_location == onnx.TensorProto.EXTERNAL:
        return True
    values = [value for field, value in message.ListFields() if field.message_type is not None]
    parts = [part for value in values for part in ([value] if hasattr(value, "ListFields") else value)]
    return any(map(_has_external_data, parts))


def _class_names(names: Any, count: int) -> tuple[str, ...]:
    if not isinstance(names, list) or len(names) != count or not all(isinstance(name, str) for name in names):
        raise ValueError(f"class_names must be a list of {count} names")
    return tuple(names)


def _later(found: Mapping[str, str]) -> dict[str, Any]:
    """Those parts of a card that older files do not have."""
    batch, quantization = found.get("batch", "1"), parse_json(found.get("quantization", "null"))
    preprocessing = parse_json(found.get("preprocessing", "false"))
    if not isinstance(preprocessing, bool):
        raise TypeError("preprocessing must be true or false")
    licence = found.get("licence", "")
    if not licence.isprintable():
        raise ValueError(f"licence must be printable text, not {licence!r:.80}")
    if found.get("fit", CROP) not in FITS:
        raise ValueError(f"fit must be one of {', '.join(FITS)}, got {shown(found['fit'])}")
    return {
        "form": FileForm(
            found.get("precision", FP32), None if batch == "dynamic" else int(batch), preprocessing
        ),
        "quantization": None if quantization is None else Quantization.from_document(quantization),
        "measured": _measured(parse_json(found.get("measured", "{}"))),
        "made_by": {str(key): str(value) for key, value in parse_json(found.get("made_by", "{}")).items()},
        "licence": licence,
        "fit": cast(Fit, found.get("fit", CROP)),
        "window": _window(parse_json(found["window"])) if "window" in found else 0,
    }


def _window(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= LONGEST_WINDOW:
        raise ValueError(
            f"window must be a number of samples from 1 to {LONGEST_WINDOW:,}, got {shown(value)}"
        )
    return value


def _number(name: str, value: Any) -> float:
    """A figure within bounds; no text that Python would read as a number, and no boolean."""
    least, most = _BOUNDS.get(name, (0.0, _LARGEST))
    if type(value) not in (int, float) or not least <= value <= most:
        raise ValueError(f"{name[:80]}: expected a number from {least:g} to {most:g}, got {shown(value)}")
    return float(value)


def _figures(document: Any) -> dict[str, float]:
    return {name: _number(name, value) for name, value in document.items()}


def _measured(document: Any) -> MeasuredFigures:
    return {
        name: _figures(value) if isinstance(value, dict) else _number(name, value)
        for name, value in document.items()
    }


def _latency(document: Any) -> PredictedLatency:
    known = {"device", "provenance", "latency_ms"}
    if not isinstance(document, dict) or document.keys() - {"provider"} != known:
        raise ValueError("latencies must be a list of objects with device, provenance and latency_ms")
    latency_ms = _number("latency_ms", document["latency_ms"])
    if not latency_ms:
        raise ValueError("latency_ms must be above 0")
    provider = document.get("provider")
    if provider not in (None, "") and not (isinstance(provider, str) and agent.PROVIDER.fullmatch(provider)):
        raise ValueError(f"{provider!r:.80} is no execution provider")
    return PredictedLatency(str(document["device"]), str(document["provenance"]), latency_ms, provider)


def make_normalization(mean: list[float], std: list[float], *, channels: int = 3) -> Normalization:
    """A normalisation of as many numbers as the input has channels.

    Raises:
        ValueError: They are not that, or a deviation is not above 0.
    """
    for values in (mean, std):
        if not isinstance(values, list) or len(values) != channels or not all(map(is_statistic, values)):
            count = "three" if channels == 3 else channels
            raise ValueError(f"input_mean and input_std must be {count} numbers each, up to {LARGEST:.0e}")
    if min(std) < LEAST_STD:
        raise ValueError(f"input_std must be above 0, {LEAST_STD:g} at least")
    return Normalization(tuple(map(float, mean)), tuple(map(float, std)))
