"""From a chosen architecture to an ONNX file on the disk that was checked."""

from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path

import onnx

from ofa_nas.activity import Activity
from ofa_nas.export.card import with_card
from ofa_nas.export.export import describe_makers, exact_bytes, export_subnet, give_form, model_card
from ofa_nas.export.interface import SINGLE_PRECISION, FileForm
from ofa_nas.export.verify import check_size
from ofa_nas.files import replacing
from ofa_nas.pipeline.delivery.file_verification import Delivery, check_file
from ofa_nas.pipeline.evaluating.images import supernet_images
from ofa_nas.pipeline.searching.promise import Promise, promise_of
from ofa_nas.space.architecture import Architecture
from ofa_nas.supernet.checkpoint import load_supernet
from ofa_nas.supernet_card import SupernetFiles


def deliver(
    files: SupernetFiles,
    arch: Architecture,
    promise: Promise,
    *,
    output: str | Path,
    form: FileForm = SINGLE_PRECISION,
) -> Iterator[Activity | Delivery]:
    """Export an architecture and check the file; the last record is the delivery.

    Args:
        files: Of the supernet.
        arch: Of its space.
        promise: What the file is chosen for; sizes are counted anew where operators stay in fp32.
        output: ONNX file to write.
        form: Precision, batch and input of the file.

    Raises:
        CheckpointError: The supernet or its images are missing or damaged.
        VerificationError: The file does not compute what the supernet does; it is not written.
    """
    output = Path(output)
    yield Activity("loading the supernet")
    supernet, card = load_supernet(files)
    calibration = supernet_images(files.calibration, "calibration")
    held_out = supernet_images(files.held_out, "held-out")
    yield Activity("extracting and calibrating")
    own = replace(
        model_card(files.name, card, arch, {**promise.figures, "accuracy_half_width": promise.half_width}),
        latencies=tuple(one.predicted for one in promise.latencies if one.predicted),
        form=form,
        made_by=describe_makers(),
        window=calibration.images.shape[2] if card.space.axes == 1 else 0,
    )
    subnet, model = export_subnet(supernet, own, calibration=calibration.images)
    for made in give_form(model, own, calibration=calibration.images):
        if isinstance(made, Activity):
            yield made
        else:
            model, own = made.model, made.card
    exact = exact_bytes(own)
    own = replace(own, predicted={**own.predicted, **exact})
    promise = replace(promise, figures={**promise.figures, **exact})
    with replacing(output) as temporary:  # whatever goes wrong, an older file stays
        save_model(temporary, with_card(model, own))
        for record in check_file(temporary, subnet, promise, held_out=held_out, named=output):
            last = record
            if isinstance(record, Activity):
                yield record
        assert isinstance(last, Delivery)
        last = _with_figures(last, model, promise, path=temporary)
    yield last


def deliver_trained(files: SupernetFiles, arch: Architecture) -> Generator[Activity, None, Delivery]:
    """Export a subnet of a supernet that was trained here, beside its weights, and check the file.

    Raises:
        VerificationError: The file does not compute what the network does.
    """
    promise = promise_of(files, arch, table=None)
    for record in deliver(files, arch, promise, output=files.weights.with_suffix(".onnx")):
        if not isinstance(record, Activity):
            return record
        yield record
    raise AssertionError("a delivery ends with its record")


def save_model(path: Path, model: onnx.ModelProto) -> None:
    """Write into a file that is a temporary one already.

    Raises:
        OSError: It cannot be written.
    """
    path.write_bytes(model.SerializeToString())


def _with_figures(delivery: Delivery, model: onnx.ModelProto, promise: Promise, *, path: Path) -> Delivery:
    """Write what was measured into the file itself; its size is that of the result."""
    left_out = {"weight_bytes", "exceeds_budget"}  # the size is not known before this is written
    figures = {key: value for key, value in delivery.measured().items() if key not in left_out}
    card = replace(delivery.card, measured={**figures, "threads": float(delivery.threads)})
    final = with_card(model, card)
    save_model(path, final)
    predicted, limit = promise.figures.get("weight_bytes"), promise.limit("model_size")
    size = check_size(path.stat().st_size, predicted=predicted, limit=limit)
    checks = (size if check.quantity == size.quantity else check for check in delivery.checks)
    return replace(delivery, card=card, checks=tuple(checks))
