"""`ofa-nas show`: what an exported file says of itself, without running it."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofa_nas.figures import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ofa_nas.export.card import ModelCard

_SHOWN_CLASSES = 6
_FITS = {
    "crop": "crop: the central square",
    "pad": "pad: the whole image on a square of grey 127",
    "stretch": "stretch: width and height resized each",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `show`."""
    parser.add_argument("file", metavar="FILE", type=Path, help="ONNX file exported by ofa-nas")
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="write the class names to a .txt file, one per line, in the order of the outputs",
    )


def run(args: argparse.Namespace) -> None:
    """Read the file and tell."""
    from ofa_nas.cli.console import give_document
    from ofa_nas.export.card import ModelCard, describe_interface, read_model
    from ofa_nas.files import check_writable

    if args.labels is not None:
        check_writable(args.labels, option="--labels", suffix=".txt")
    model = read_model(args.file)
    card = ModelCard.from_model(model, args.file)
    document = {
        "file": str(args.file),
        "bytes": args.file.stat().st_size,
        **describe_interface(model),
        **card.to_document(),
    }
    if args.labels is not None:
        _write_labels(args.labels, card.class_names)
    if not give_document(args, document):
        _show(card, document, args.labels)


def _write_labels(path: Path, names: "Sequence[str]") -> None:
    """Write one class a line, as UTF-8.

    Raises:
        FileError: A name is not one line, or the file cannot be written.
    """
    from ofa_nas.errors import FileError
    from ofa_nas.files import write_bytes

    for place, name in enumerate(names):
        if name.splitlines() != [name]:
            raise FileError(
                f"--labels {path}: output {place} is of the class {name!r:.80}, whose name is not one line: "
                "rename the class, train and export again; or take class_names of show --json"
            )
    write_bytes(path, "".join(f"{name}\n" for name in names).encode())


def _show(card: "ModelCard", document: "Mapping[str, Any]", labels: Path | None) -> None:
    from rich.markup import escape

    from ofa_nas.cli.console import out
    from ofa_nas.cli.delivery import show_quantization

    for title, text in _lines(card, document):
        out.print(f"{title:<10}{escape(text)}")
    show_quantization(card.quantization)
    if labels is not None:
        out.print(f"labels    {escape(str(labels))}")


def _lines(card: "ModelCard", document: "Mapping[str, Any]") -> "Iterator[tuple[str, str]]":
    yield "file", f"{document['file']}, {format_bytes(document['bytes'])}, {card.form.precision}"
    yield "subnet", str(card.arch)
    yield "supernet", f"{card.supernet} of {card.space.name}, sha256 {card.supernet_sha256}"
    names = "; ".join(card.class_names[:_SHOWN_CLASSES])
    more = "; …" if len(card.class_names) > _SHOWN_CLASSES else ""
    yield "classes", f"{len(card.class_names)} of {card.data}: {names}{more}"
    yield "licence", card.licence or "not stated"
    for way in ("input", "output"):
        sizes = ", ".join(map(str, document[way]["shape"]))
        yield way, f"{document[way]['name']} ({sizes}) {document[way]['type']}"
    mean, std = (
        ", ".join(f"{one:g}" for one in part) for part in (card.normalization.mean, card.normalization.std)
    )
    is_signal = card.space.axes == 1
    what = "(sample − mean) / std" if is_signal else "(pixel − mean) / std, RGB"
    rule = f"{what}, mean {mean}, std {std}"
    yield (
        "samples" if is_signal else "pixels",
        f"{rule}: {'inside' if card.form.has_preprocessing else 'by the caller'}; resized by the caller",
    )
    if is_signal:
        yield "window", _window(card)
    else:
        yield "fit", _FITS[card.fit]
    yield "needs", f"opset {document['opset']}, IR version {document['ir_version']}"
    latencies = {f"latency_ms on {one.device} ({one.provenance})": one.latency_ms for one in card.latencies}
    yield "predicted", _figures({**card.predicted, **latencies}) or "nothing"
    yield "measured", _figures(card.measured) or "nothing"
    yield (
        "made by",
        ", ".join(f"{name} {version}" for name, version in card.made_by.items() if version) or "?",
    )


def _window(card: "ModelCard") -> str:
    if not card.window:
        return "not stated: as long as those that it was trained on"
    length = card.arch.resolution
    if card.window == length:
        return f"{length} samples, as they are"
    return f"{card.window} samples, linearly resampled to {length}"


def _figures(figures: "Mapping[str, Any]") -> str:
    texts = []
    for name, value in figures.items():
        inner = value if isinstance(value, dict) else {"": value}
        texts += [f"{name}{f' on {key}' if key else ''} {one:.6g}" for key, one in inner.items()]
    return ", ".join(texts)
