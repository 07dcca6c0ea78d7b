"""What do half precision and 8 bits cost in accuracy, and what do they save in bytes and milliseconds?

Five subnets of a supernet (the smallest, three of its front and the largest) become fp32, fp16 and int8
files. For each file: top-1 on the supernet's held-out images, the share of images with the class that fp32
gives, sizes, and what stays in fp32. This may run beside other work. With `--latency` the files are also
timed on this machine, interleaved, which needs a quiet one. Prints a table and one JSON line.

    python -m benchmarks.bench_quantization --latency
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx

from ofa_nas.data.packed import PackedImages
from ofa_nas.devices import HOST, MeasuringProtocol, Model, describe_threads, open_device
from ofa_nas.export.card import ModelCard
from ofa_nas.export.comparison import TorchAgreement
from ofa_nas.export.export import FormedModel, exact_bytes, export_subnet, give_form, model_card
from ofa_nas.export.interface import FileForm
from ofa_nas.export.ort_model import OrtModel
from ofa_nas.export.verify import check_memory
from ofa_nas.latency.measure import Measurement, measure
from ofa_nas.pipeline.evaluating.images import supernet_images
from ofa_nas.precisions import FILE_PRECISIONS, FP32
from ofa_nas.provenance import record_provenance
from ofa_nas.space.points import named_architecture
from ofa_nas.supernet.checkpoint import load_supernet
from ofa_nas.supernet_card import SupernetFiles
from ofa_nas.training.evaluate import Images

Labels = npt.NDArray[np.int64]
SUBNETS = (  # supernets/README.md
    "smallest",
    "112/3x1/3x3/5x3/3x6.3x3/3x3.5x3/3x3.5x3/3x3",
    "128/3x1/3x3.3x3/5x3.5x3/3x6.3x4/5x6.5x3/3x6.5x4.3x6/3x6",
    "144/3x1/3x3.5x3/5x6.5x4/3x6.3x6.3x3/5x6.5x4.5x3/3x6.5x6.3x6.3x6/3x6",
    "largest",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One subnet in one precision, beside itself in fp32.

    Attributes:
        accuracy: Top-1 on the held-out images.
        drop: Of top-1 against fp32, and half the 90 % interval of it.
        drop_half_width: See there.
        agreement: Share of images with the class of fp32.
        liveness_bytes: Predicted peak of activations, and what ONNX Runtime requested.
        requested_bytes: See there.
        latency_ms: Median; None where nothing was timed.
    """

    architecture: str
    precision: str
    accuracy: float
    drop: float
    drop_half_width: float
    agreement: float
    file_bytes: int
    liveness_bytes: int
    requested_bytes: int
    method: str = ""
    distortion: float = 0.0
    kept: tuple[str, ...] = ()
    latency_ms: float | None = None


def main() -> None:
    """Export, classify, time, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--supernet", default="efficientnet_lite")
    parser.add_argument("--subnets", nargs="+", default=SUBNETS)
    parser.add_argument("--latency", action="store_true", help="time the files; wants a quiet machine")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    files = SupernetFiles.find(args.supernet)
    supernet, card = load_supernet(files)
    calibration = supernet_images(files.calibration, "calibration").images
    held_out = supernet_images(files.held_out, "held-out")
    rows: list[Row] = []
    models: dict[str, bytes] = {}
    for text in args.subnets:
        own = model_card(files.name, card, named_architecture(card.space, text), {})
        _, fp32 = export_subnet(supernet, own, calibration=calibration)
        made = {one: make(fp32, own, one, calibration) for one in FILE_PRECISIONS}
        rows += judge(made, held_out)
        models |= {f"{own.arch} {one}": formed.model.SerializeToString() for one, formed in made.items()}
        print(f"{own.arch}: judged", file=sys.stderr, flush=True)
    if args.latency:
        rows = add_latencies(rows, models, threads=args.threads)
    print_table(rows, threads=args.threads)
    made_by = record_provenance(seed=0).to_json()
    print(json.dumps({"rows": [asdict(row) for row in rows], "made_by": made_by}))


def make(model: onnx.ModelProto, card: ModelCard, precision: str, calibration: Images) -> FormedModel:
    """A file of a precision and its card."""
    (*_, last) = give_form(model, replace(card, form=FileForm(precision)), calibration=calibration)
    assert isinstance(last, FormedModel)
    return last


def judge(made: Mapping[str, FormedModel], held_out: PackedImages) -> list[Row]:
    """Rows of one subnet, each beside fp32."""
    classes = {}
    rows = []
    for precision, formed in made.items():
        card = formed.card
        file = OrtModel(formed.model, card.normalization)
        classes[precision] = file.logits(held_out.images).argmax(axis=1)
        found = compare(classes[precision], classes[FP32], held_out.labels)
        (peak, *_) = check_memory(
            file, HOST, predicted=exact_bytes(card)["peak_activation_bytes"], limit=None
        )
        quantization = card.quantization
        rows.append(
            Row(
                architecture=str(card.arch),
                precision=precision,
                accuracy=found.top_1.accuracy,
                drop=found.drop,
                drop_half_width=found.half_width,
                agreement=found.agreement,
                file_bytes=len(file.content),
                liveness_bytes=int(peak.predicted or 0),
                requested_bytes=int(peak.measured),
                method=quantization.method if quantization else "",
                distortion=quantization.distortion if quantization else 0.0,
                kept=quantization.kept if quantization else (),
            )
        )
    return rows


def compare(own: Labels, other: Labels, wanted: Labels) -> TorchAgreement:
    """Classes `(n,)` of a file beside those of fp32 and the right ones."""
    right, other_right = own == wanted, other == wanted
    return TorchAgreement(
        images=len(wanted),
        agreeing=int((own == other).sum()),
        both=int((right & other_right).sum()),
        file_alone=int((right & ~other_right).sum()),
        torch_alone=int((other_right & ~right).sum()),
    )


def add_latencies(rows: Sequence[Row], models: Mapping[str, bytes], *, threads: int) -> list[Row]:
    """The same rows, timed on this machine in interleaved rounds."""
    networks = [Model(name, content) for name, content in models.items()]
    records = measure(open_device(HOST), networks, protocol=MeasuringProtocol(threads=threads))
    found = {one.model: one.latency_ms for one in records if isinstance(one, Measurement)}
    return [replace(row, latency_ms=found[f"{row.architecture} {row.precision}"]) for row in rows]


def print_table(rows: Sequence[Row], *, threads: int) -> None:
    """As in benchmarks/README.md."""
    titles = ["subnet", "precision", "top-1", "lost [points]", "as fp32", "file", "liveness", "requested"]
    titles += ["ranges", "in fp32"]
    if any(row.latency_ms for row in rows):
        titles.append(f"latency, {describe_threads(threads)}")
    print("| " + " | ".join(titles) + " |")
    print("|---" * len(titles) + "|")
    for row in rows:
        base = next(one for one in rows if (one.architecture, one.precision) == (row.architecture, FP32))
        cells = [
            f"`{row.architecture}`",
            row.precision,
            f"{row.accuracy:.2%}",
            f"{100 * row.drop:+.2f} ± {100 * row.drop_half_width:.2f}",
            f"{row.agreement:.1%}",
            f"{row.file_bytes / 1e6:.2f} MB",
            f"{row.liveness_bytes / 1e3:.0f} kB",
            f"{row.requested_bytes / 1e3:.0f} kB",
            row.method and f"{row.method}, {row.distortion:.2%} distorted",
            ", ".join(row.kept) or ("nothing" if row.method else ""),
        ]
        if row.latency_ms and base.latency_ms:
            cells.append(f"{row.latency_ms:.2f} ms, {row.latency_ms / base.latency_ms:.2f} ×")
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
