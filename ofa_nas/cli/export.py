"""`ofa-nas export`: an architecture of the user's own choice as a checked ONNX file."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ofa_nas.cli.file_form import add_batch, add_preprocess, read_form
from ofa_nas.cli.supernet_arguments import add_supernet
from ofa_nas.precisions import FILE_PRECISIONS, FP16, FP32

if TYPE_CHECKING:
    from ofa_nas.latency.table import LatencyTable
    from ofa_nas.pipeline.delivery.file_verification import Delivery
    from ofa_nas.space.search_space import SearchSpace


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `export`."""
    parser.add_argument(
        "arch",
        metavar="ARCH",
        help="architecture: smallest, middle, largest, or a text such as 128/3x1/5x6.3x4/…",
    )
    parser.add_argument("--output", metavar="FILE", type=Path, required=True, help="ONNX file to write")
    add_supernet(parser)
    parser.add_argument(
        "--device",
        help="latency table that predicts the latency, by name or file; or host or "
        "ssh://[USER@]HOST, where the file is timed too (and a table measured first, if there "
        "is none)",
    )
    parser.add_argument(
        "--precision",
        choices=FILE_PRECISIONS,
        default=FP32,
        help="precision of weights and activations: fp16 halves the file, but CPUs compute in "
        "fp32; int8 is calibrated on the supernet's images, and operators that would cost too "
        "much accuracy stay in fp32 [default: fp32]",
    )
    add_batch(parser)
    add_preprocess(parser)
    parser.add_argument(
        "--threads", metavar="COUNT", type=int, default=1, help="ONNX Runtime threads [default: 1]"
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed of a measurement [default: 0]")


def run(args: argparse.Namespace) -> int:
    """Export and check."""
    from ofa_nas.cli.console import give_document
    from ofa_nas.cli.delivery import follow_delivery, show_delivery
    from ofa_nas.cli.device_tables import tell_extrapolation
    from ofa_nas.cli.torch_process import prepare_process
    from ofa_nas.files import check_writable

    form = read_form(args)
    check_writable(args.output, option="--output", suffix=".onnx")
    prepare_process()
    from ofa_nas.pipeline.delivery.deliver import deliver
    from ofa_nas.pipeline.searching.promise import Place, promise_of
    from ofa_nas.space.points import named_architecture
    from ofa_nas.supernet_card import SupernetCard, SupernetFiles

    files = SupernetFiles.find(args.supernet)
    card = SupernetCard.load(files.card)
    card.check_weights(files.name)
    form.check(card.space)
    arch = named_architecture(card.space, args.arch)
    table, address = _find_device(args, card.space)
    place = Place(address, args.threads) if address else None
    promise = promise_of(files, arch, table=table, place=place, precision=args.precision)
    if table is not None and not args.json:
        tell_extrapolation(table, table.latency_ms(card.space, arch))
    delivery = follow_delivery(deliver(files, arch, promise, output=args.output, form=form), quiet=args.json)
    if not give_document(args, _document(delivery)):
        show_delivery(delivery)
    return 0 if delivery.is_met else 1


def _find_device(args: argparse.Namespace, space: "SearchSpace") -> "tuple[LatencyTable | None, str]":
    """The table of `--device`, measured where it is needed, and the address where the file is timed."""
    from ofa_nas.cli.device_tables import find_or_measure_table
    from ofa_nas.devices import is_address

    if not args.device:
        return None, ""
    address = args.device if is_address(args.device) else ""
    if address and args.precision == FP16:
        return None, address  # there are no tables of half precision: what it takes is only measured
    table = find_or_measure_table(
        args.device, space, threads=args.threads, seed=args.seed, quiet=args.json, precision=args.precision
    )
    return table, address


def _document(delivery: "Delivery") -> dict[str, object]:
    latencies = {one.device: one.latency_ms for one in delivery.card.latencies}
    return {
        "architecture": delivery.card.arch,
        "predicted": {**delivery.card.predicted, "latency_ms": latencies},
        "measured": delivery.measured(),
        "file": str(delivery.path),
        "is_met": delivery.is_met,
        "licence": delivery.card.licence,
    }
