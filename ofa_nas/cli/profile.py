"""`ofa-nas profile`: measure a device and write its latency table."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ofa_nas.assets import DEFAULT_SPACE
from ofa_nas.cli.profile_report import tell_tables
from ofa_nas.figures import format_bytes
from ofa_nas.precisions import FP32, TABLE_PRECISIONS

if TYPE_CHECKING:
    from ofa_nas.activity import Activity
    from ofa_nas.cli.console import ProgressBar
    from ofa_nas.devices import Device, MeasuringProtocol
    from ofa_nas.devices.job import PackedModel
    from ofa_nas.latency.table import LatencyTable
    from ofa_nas.space.search_space import SearchSpace

CLASSES = 200  # of the supernet that ships
# Options of a measurement that a bundle holds.
OF_BUNDLES = (
    "device",
    "space",
    "supernet",
    "resolution",
    "classes",
    "provider",
    "precision",
    "clock",
    "rounds",
    "seed",
    "threads",
)
OF_OTHER_TABLES = ("name", "bundle", "collect", "provider", "resolution", "clock", "rounds")  # not a search's
MOST_ROUNDS = 1000  # a day for a small space; more tells nothing new


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments; a bundle holds most of them, so `run` must know which were given."""
    parser.add_argument(
        "--device",
        help="host (this machine), or a board as ssh://[USER@]HOST[:PORT][/PATH/OF/PYTHON]; a plus "
        "adds an execution provider of its ONNX Runtime, as in host+openvino or ssh+cuda://… "
        "[default: host]",
    )
    parser.add_argument(
        "--name", help="name of the table, which search takes as --device [default: the device's]"
    )
    parser.add_argument(
        "--bundle",
        type=Path,
        metavar="ZIP",
        help="write models and agent into a .zip file, for a board without a network",
    )
    parser.add_argument(
        "--collect",
        type=Path,
        metavar="RESULTS",
        help="make the table from the results.jsonl of a board on which --bundle was run",
    )
    parser.add_argument(
        "--provider",
        help="execution provider that the bundle is to use, such as cuda or "
        "openvino,device_type=GPU [default: the CPU]; a --device names its own: host+cuda, "
        "ssh+cuda://…",
    )
    parser.add_argument("--space", help=f"search space, by name or TOML file [default: {DEFAULT_SPACE}]")
    parser.add_argument(
        "--supernet", help="take search space and classes from a supernet, by name or .safetensors file"
    )
    parser.add_argument(
        "--resolution",
        metavar="PX",
        type=int,
        nargs="+",
        help="input sizes in pixels [default: all those of the space]",
    )
    parser.add_argument(
        "--classes",
        metavar="COUNT",
        type=int,
        help=f"outputs of the classifier [default: {CLASSES} for {DEFAULT_SPACE}, else the space's own]",
    )
    parser.add_argument(
        "--precision",
        choices=TABLE_PRECISIONS,
        help="precision of the networks: int8 quantises weights and activations [default: fp32]",
    )
    parser.add_argument(
        "--threads",
        dest="thread_counts",
        type=int,
        nargs="+",
        metavar="COUNT",
        help="ONNX Runtime threads; each of several counts makes a table [default: 1]",
    )
    parser.add_argument(
        "--clock",
        choices=("wall", "cpu"),
        help="wall, or cpu (processor time) on busy machines [default: wall]",
    )
    parser.add_argument(
        "--rounds",
        metavar="COUNT",
        type=int,
        help=f"minimum number of visits to each network, 1 to {MOST_ROUNDS} [default: 10]",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        help="table to write, a .json file [default: in the cache folder]",
    )
    parser.add_argument(
        "--unless-fresh",
        action="store_true",
        help="write to --output the table that search --device would use: a fresh one from the "
        "cache folder, or else a new measurement, which is kept there too",
    )
    parser.add_argument("--seed", type=int, help="random seed, of networks, weights and order [default: 0]")


def run(args: argparse.Namespace) -> None:
    """Measure, write, and show how far off each table is; or write a bundle."""
    from ofa_nas.latency.shelf import check_name

    _check_combination(args)
    _check_outputs(args)
    if args.name is not None:
        check_name(args.name)
    if args.collect is not None:
        _collect(args)
    elif args.bundle is not None:
        _write_bundle(args)
    elif args.unless_fresh:
        _take_or_measure(args)
    else:
        _measure(args)


def _check_combination(args: argparse.Namespace) -> None:
    from ofa_nas.errors import ConfigError

    if args.rounds is not None and not 1 <= args.rounds <= MOST_ROUNDS:
        raise ConfigError(f"--rounds {args.rounds}: expected 1 to {MOST_ROUNDS}")
    counts = _counts(args)
    if min(counts) < 1 or len(set(counts)) < len(counts):
        raise ConfigError(f"--threads {_join(counts)}: expected different numbers from 1 on")
    if args.unless_fresh:
        _check_unless_fresh(args, counts)
    if args.collect is not None:
        if args.bundle is None or args.name is None:
            raise ConfigError("--collect needs the --bundle that was measured, and a --name for the table")
        _check_unused(args, OF_BUNDLES, reason="the bundle says what was measured, and how")
    elif args.bundle is not None:
        if len(counts) > 1:
            raise ConfigError(
                f"--threads {_join(counts)}: a bundle is measured with one number; write one each"
            )
        reason = "a bundle is not measured here: name its table with --collect"
        _check_unused(args, ("device", "name", "output"), reason=reason)
    else:
        _check_measuring(args, counts)


def _check_unused(args: argparse.Namespace, options: Sequence[str], *, reason: str) -> None:
    from ofa_nas.errors import ConfigError

    given = {**vars(args), "threads": args.thread_counts}
    for option in options:
        if given[option] is not None:
            raise ConfigError(f"--{option} cannot be given here: {reason}")


def _check_measuring(args: argparse.Namespace, counts: list[int]) -> None:
    from ofa_nas.devices import HOST
    from ofa_nas.devices.provided import with_provider
    from ofa_nas.errors import ConfigError

    if args.provider is not None:
        address = with_provider(args.device or HOST, args.provider)
        raise ConfigError(f"--provider is for a --bundle: here the address names it, --device {address}")
    if len(counts) > 1 and args.output is not None:
        raise ConfigError(f"--output is one file, and --threads {_join(counts)} make {len(counts)} tables")


def _check_unless_fresh(args: argparse.Namespace, counts: list[int]) -> None:
    from ofa_nas.devices import HOST, check_address
    from ofa_nas.errors import ConfigError

    reason = "--unless-fresh takes the table that search --device takes, measured in the usual way"
    _check_unused(args, OF_OTHER_TABLES, reason=reason)
    check_address(args.device or HOST, "--device")
    if args.output is None or len(counts) > 1:
        raise ConfigError(
            "--unless-fresh writes one table to an --output: give that, and one number of --threads"
        )


def _check_outputs(args: argparse.Namespace) -> None:
    from ofa_nas.files import check_writable

    if args.output is not None:
        check_writable(args.output, option="--output", suffix=".json")
    if args.bundle is not None and args.collect is None:
        check_writable(args.bundle, option="--bundle", suffix=".zip")


def _counts(args: argparse.Namespace) -> list[int]:
    return args.thread_counts or [1]


def _precision(args: argparse.Namespace) -> str:
    return args.precision or FP32


def _join(counts: list[int]) -> str:
    return " ".join(map(str, counts))


def _space(args: argparse.Namespace) -> "SearchSpace":
    from ofa_nas.errors import ConfigError
    from ofa_nas.space.search_space import SearchSpace
    from ofa_nas.supernet_card import SupernetCard, SupernetFiles

    if args.supernet is not None:
        if args.space is not None or args.classes is not None:
            raise ConfigError("--supernet tells space and classes: leave out --space and --classes")
        return SupernetCard.load(SupernetFiles.find(args.supernet).card).space
    name = args.space or DEFAULT_SPACE
    space = SearchSpace.load(name)
    return space.with_classes(args.classes or (CLASSES if name == DEFAULT_SPACE else space.classes))


def _protocol(args: argparse.Namespace, *, threads: int) -> "MeasuringProtocol":
    from ofa_nas.devices import HOST, MeasuringProtocol, provider_of

    rounds = args.rounds or 10
    return MeasuringProtocol(
        threads=threads,
        clock=args.clock or "wall",
        seed=args.seed or 0,
        rounds=rounds,
        max_rounds=-(-rounds * 6 // 5),
        provider=args.provider or provider_of(args.device or HOST),
    )


def _measure(args: argparse.Namespace) -> None:
    from ofa_nas.devices import HOST
    from ofa_nas.devices.quiet import quiet
    from ofa_nas.latency.profile import check_request

    space, address = _space(args), args.device or HOST
    counts, precision = _counts(args), _precision(args)
    for threads in counts:
        protocol = _protocol(args, threads=threads)
        check_request(space, protocol, args.resolution or (), precision=precision)
    with quiet(address):
        tables = _measure_all(args, space, address)
    tell_tables(args, tables)


def _measure_all(
    args: argparse.Namespace, space: "SearchSpace", address: str
) -> "list[tuple[LatencyTable, Path]]":
    from ofa_nas.assets import OWN_CACHE
    from ofa_nas.cli.console import err
    from ofa_nas.devices import open_device
    from ofa_nas.files import check_writable
    from ofa_nas.latency.profile import examined_for
    from ofa_nas.latency.shelf import check_replaceable, default_name, named_table_path

    counts, precision = _counts(args), _precision(args)
    device = open_device(address)
    info = device.info()
    examined = [examined_for(threads, info) for threads in counts]
    warnings = dict.fromkeys(text for one in examined for text in one.environment.get("warnings", []))
    for text in warnings:
        err.print(f"{address} warns: {text}", markup=False)
    name = args.name or default_name(address, info)
    paths = {
        threads: args.output or named_table_path(space, name, threads=threads, precision=precision)
        for threads in counts
    }
    for path in paths.values():
        check_writable(path, advice=f"give --output, or {OWN_CACHE}")
        if args.output is None:
            check_replaceable(path)
    tables: list[tuple[LatencyTable, Path]] = []
    networks: list[PackedModel] = []
    for threads, path in paths.items():
        table = _measure_once(args, device, networks, name=name, threads=threads).measured_at(address)
        _save(table, path, is_named=args.output is None)
        tables.append((table, path))
    device.forget()
    return tables


def _take_or_measure(args: argparse.Namespace) -> None:
    from ofa_nas.cli.device_tables import find_or_measure_table
    from ofa_nas.devices import HOST

    (threads,) = _counts(args)
    table = find_or_measure_table(
        args.device or HOST,
        _space(args),
        threads=threads,
        seed=args.seed or 0,
        quiet=args.json,
        precision=_precision(args),
    )
    table.save(args.output)
    tell_tables(args, [(table, args.output)])


def _save(table: "LatencyTable", path: Path, *, is_named: bool) -> None:
    """Write a table where a name finds it, which replaces no other, or into the file that was asked for."""
    from ofa_nas.latency.shelf import put_on_shelf

    if is_named:
        put_on_shelf(table, path)
    else:
        table.save(path)


def _measure_once(
    args: argparse.Namespace, device: "Device", networks: "list[PackedModel]", *, name: str, threads: int
) -> "LatencyTable":
    from ofa_nas.cli.console import follow
    from ofa_nas.devices import HOST
    from ofa_nas.latency.profile import profile_device
    from ofa_nas.latency.table import LatencyTable

    records = profile_device(
        device,
        _space(args),
        protocol=_protocol(args, threads=threads),
        resolutions=args.resolution or (),
        name=name,
        precision=_precision(args),
        written=networks,
    )
    title = f"measuring {args.device or HOST}, threads: {threads}"
    return follow(records, LatencyTable, show=_show_progress, title=title, quiet=args.json)


def _show_progress(bar: "ProgressBar", activity: "Activity") -> None:
    if not activity.done:
        bar.tell(f"{activity.name}; --resolution takes fewer")
    bar.show(activity)


def _write_bundle(args: argparse.Namespace) -> None:
    from ofa_nas.cli.console import err, follow, give_document, out
    from ofa_nas.latency.bundle import Bundle, write_bundle

    threads, *_ = _counts(args)
    records = write_bundle(
        args.bundle,
        _space(args),
        protocol=_protocol(args, threads=threads),
        resolutions=args.resolution or (),
        precision=_precision(args),
    )
    bundle = follow(records, Bundle, show=_show_progress, title="writing networks", quiet=args.json)
    if not give_document(args, bundle):
        out.print(
            f"{bundle.networks} networks, {format_bytes(bundle.bytes)}. On the board, where it is unpacked:"
        )
        out.print("  python3 agent.py")
        path = shlex.quote(str(bundle.path))
        out.print("then here, with the results.jsonl that it wrote:")
        out.print(f"  ofa-nas profile --collect results.jsonl --bundle {path} --name my-board", markup=False)
    err.print(f"wrote {bundle.path}", markup=False)


def _collect(args: argparse.Namespace) -> None:
    from ofa_nas.latency.bundle import collect
    from ofa_nas.latency.shelf import named_table_path

    collected = collect(args.collect, args.bundle, name=args.name)
    device = collected.table.device
    path = args.output or named_table_path(
        collected.space, args.name, threads=device.threads or 1, precision=device.precision
    )
    _save(collected.table, path, is_named=args.output is None)
    tell_tables(args, [(collected.table, path)])
