"""`ofa-nas compare`: an exported file beside hand-designed networks, or any ONNX file."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ofa_nas.figures import format_bytes, format_count, format_ms

if TYPE_CHECKING:
    from ofa_nas.data import Normalization
    from ofa_nas.pipeline.delivery.compare import Comparison, Figures, Versus


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `compare`."""
    parser.add_argument("file", metavar="FILE", type=Path, help="ONNX file exported by ofa-nas")
    parser.add_argument(
        "--baseline",
        action="append",
        required=True,
        metavar="NAME,…",
        help="what to compare it with: an architecture with the same supernet's weights (smallest, "
        "middle, largest, a named point of the space, or its text) or any ONNX file; "
        "repeatable",
    )
    parser.add_argument(
        "--supernet", help="supernet that the file came from [default: the shipped one that the file names]"
    )
    parser.add_argument(
        "--device",
        metavar="ADDRESS",
        default="host",
        help="where to time them: host, or a board as ssh://[USER@]HOST[:PORT][/PYTHON] [default: host]",
    )
    parser.add_argument(
        "--threads", metavar="COUNT", type=int, default=1, help="ONNX Runtime threads [default: 1]"
    )
    parser.add_argument(
        "--images", metavar="COUNT", type=int, help="maximum number of held-out images [default: all]"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed, of the choice of images [default: 0]"
    )
    for name, example in (("mean", "123.7,116.3,103.5"), ("std", "58.4,57.1,57.4")):
        parser.add_argument(
            f"--input-{name}",
            metavar="R,G,B",
            help=f"{name} by which other people's ONNX files normalise pixels of 0 to 255, such as {example}",
        )


def run(args: argparse.Namespace) -> None:
    """Compare, and say it in a table and in sentences."""
    from ofa_nas.cli.console import ProgressBar, follow, give_document
    from ofa_nas.cli.torch_process import prepare_process

    prepare_process()
    from ofa_nas.devices import MeasuringProtocol
    from ofa_nas.pipeline.delivery.compare import Comparison, ComparisonPlan, compare

    plan = ComparisonPlan(
        file=args.file,
        baselines=tuple(name.strip() for text in args.baseline for name in text.split(",")),
        supernet=args.supernet,
        address=args.device,
        images=args.images,
        seed=args.seed,
        normalization=_normalization(args.input_mean, args.input_std),
    )
    records = compare(plan, protocol=MeasuringProtocol(threads=args.threads))
    found = follow(records, Comparison, show=ProgressBar.show, title="comparing", quiet=args.json)
    if not give_document(args, _document(found)):
        _show(found)


def _normalization(mean: str | None, std: str | None) -> "Normalization | None":
    from ofa_nas.data import Normalization
    from ofa_nas.errors import ConfigError

    if mean is None and std is None:
        return None
    if mean is None or std is None:
        raise ConfigError("--input-mean and --input-std: give both, or none")
    means, stds = _colours("--input-mean", mean), _colours("--input-std", std)
    if min(stds) <= 0.0:
        raise ConfigError(f"--input-std {std[:40]}: expected three numbers above 0")
    return Normalization(means, stds)


def _colours(option: str, text: str) -> tuple[float, float, float]:
    import math

    from ofa_nas.errors import ConfigError

    try:
        red, green, blue = map(float, text.split(","))
    except ValueError:
        red = green = blue = math.nan
    if not all(map(math.isfinite, (red, green, blue))):
        raise ConfigError(
            f"{option} {text[:40]}: expected three numbers, one a colour, such as 127.5,127.5,127.5"
        )
    return red, green, blue


def _document(found: "Comparison") -> dict[str, object]:
    return {
        "file": found.networks[0].name,
        "supernet": found.supernet,
        "data": found.data,
        "images": found.images,
        "seed": found.seed,
        "device": found.address,
        "cpu": found.cpu,
        "onnxruntime": found.onnxruntime,
        "threads": found.threads,
        "networks": [_network_document(one) for one in found.networks],
        "comparisons": [_versus_document(one) for one in found.comparisons],
    }


def _network_document(one: "Figures") -> dict[str, object]:
    return {
        "name": one.name,
        "kind": one.kind,
        "precision": one.precision,
        "architecture": one.architecture,
        "note": one.note,
        "macs": one.macs,
        "file_bytes": one.file_bytes,
        "accuracy": one.top_1 and one.top_1.accuracy,
        "accuracy_half_width": one.top_1 and one.top_1.half_width,
        "latency_ms": one.latency.latency_ms,
        "latency_low_ms": one.latency.low_ms,
        "latency_high_ms": one.latency.high_ms,
        "latency_p90_ms": one.latency.p90_ms,
        "noisy": one.latency.noisy,
    }


def _versus_document(one: "Versus") -> dict[str, object]:
    ratio, difference = one.ratio, one.difference
    return {
        "baseline": one.baseline,
        "latency_ratio": ratio and ratio.value,
        "latency_ratio_low": ratio and ratio.low,
        "latency_ratio_high": ratio and ratio.high,
        "accuracy_difference": difference and difference.value,
        "accuracy_standard_error": difference and difference.standard_error,
        "refusal": one.refusal,
    }


def _show(found: "Comparison") -> None:
    from rich.markup import escape

    from ofa_nas.cli.console import make_table, out, wide
    from ofa_nas.devices import describe_address, describe_threads

    table = make_table("", "top-1", "latency", "p90", "MACs", "file", "")
    for one in found.networks:
        accuracy = "unknown"
        if one.top_1 is not None:
            accuracy = f"{one.top_1.accuracy:.1%} ± {100 * one.top_1.half_width:.1f}"
        latency = format_ms(one.latency.latency_ms) + (", noisy" if one.latency.noisy else "")
        macs = "" if one.macs is None else format_count(one.macs)
        p90 = format_ms(one.latency.p90_ms)
        table.add_row(
            escape(one.name), accuracy, latency, p90, macs, format_bytes(one.file_bytes), one.precision
        )
    wide.print(table)
    threads = describe_threads(found.threads)
    out.print(
        f"top-1 on the same {found.images} held-out images of {found.data}, ± at 90 %; latencies of one "
        f"session on {describe_address(found.address)}, in turns, {threads}",
        markup=False,
    )
    for network in found.networks:
        if network.note:
            out.print(f"{network.name}: {network.note}", markup=False)
    for versus in found.comparisons:
        out.print(_sentence(found.networks[0].name, versus), markup=False)


def _sentence(file: str, versus: "Versus") -> str:
    if versus.ratio is None or versus.difference is None:
        return f"{file} beside {versus.baseline}: no ratio, for {versus.refusal}"
    ratio, difference = versus.ratio, versus.difference
    is_faster = ratio.value >= 1.0
    times = (
        [ratio.value, ratio.low, ratio.high]
        if is_faster
        else [1 / ratio.value, 1 / ratio.high, 1 / ratio.low]
    )
    return (
        f"{file}: {times[0]:.2f} times {'lower' if is_faster else 'higher'} latency than {versus.baseline} "
        f"({times[1]:.2f} to {times[2]:.2f} at 95 %) at {100 * difference.value:+.1f} points "
        f"(± {100 * difference.half_width:.1f} at 90 %)"
    )
