"""Extract a subnet, calibrate its batch norms, and write it as one ONNX file that says what it is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import onnx

from ofa_nas.activity import Activity
from ofa_nas.export.card import (
    ModelCard,
    make_normalization,
    with_card,
)
from ofa_nas.export.interface import preprocessing_bytes
from ofa_nas.export.precision import quantize_subnet, to_half
from ofa_nas.onnx_writer import write_model
from ofa_nas.precisions import FP16, INT8
from ofa_nas.provenance import record_provenance
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.precision import peak_bytes, weight_bytes
from ofa_nas.supernet.supernet import Subnet, Supernet
from ofa_nas.supernet_card import SupernetCard
from ofa_nas.training.evaluate import Images, calibrated_subnet


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
        normalization=make_normalization(list(mean), list(std), channels=card.space.channels),
        predicted=predicted,
        licence=card.licence,
        fit=card.fit,
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


@dataclass(frozen=True, slots=True, eq=False)
class FormedModel:
    """A model in the form that its card describes; the card is in its metadata too."""

    model: onnx.ModelProto
    card: ModelCard


def give_form(
    model: onnx.ModelProto, card: ModelCard, *, calibration: Images
) -> Iterator[Activity | FormedModel]:
    """Make of an fp32 model with a batch of one the file that its card describes.

    Args:
        model: As `export_subnet` gives it; it stays as it is.
        card: What the file will say.
        calibration: `(n, S, S, 3)` uint8 training images, for int8.

    Yields:
        Activities, then the model.
    """
    if card.form.precision == FP16:
        model = to_half(model)
    elif card.form.precision == INT8:
        for record in quantize_subnet(model, calibration, card.normalization):
            if isinstance(record, Activity):
                yield record
            else:
                model, card = record.model, replace(card, quantization=record.quantization)
    model = card.form.apply(model, card.normalization)
    yield FormedModel(with_card(model, card), card)


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
