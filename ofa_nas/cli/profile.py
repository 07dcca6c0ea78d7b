"""`ofa-nas profile`: measure a device and write its latency table."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ofa_nas.latency.table import ErrorFigures, LatencyTable

SPACE, CLASSES = "efficientnet_lite", 200  # of the supernet that ships


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--device", default="host", help="what to measure; host is this machine (host)")
    parser.add_argument("--space", default=SPACE, help=f"search space, by name or TOML file ({SPACE})")
    parser.add_argument(
        "--resolution", type=int, nargs="+", default=[], help="input sizes [px] (all of the space's)"
    )
    parser.add_argument(
        "--classes", type=int, help=f"outputs of the classifier ({CLASSES} for {SPACE}, else the space's own)"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of ONNX Runtime (1)")
    parser.add_argument(
        "--clock",
        choices=("wall", "cpu"),
        default="wall",
        help="cpu: processor time, for busy machines (wall)",
    )
    parser.add_argument("--rounds", type=int, default=10, help="visits of each network at least (10)")
    parser.add_argument("--output", type=Path, help="table to write, a .json file (in the cache folder)")
    parser.add_argument("--seed", type=int, default=0, help="seed of networks, weights and order (0)")


def run(args: argparse.Namespace) -> None:
    """Measure, write, and show how far off the table is."""
    from ofa_nas.cli.console import err, print_json, progress
    from ofa_nas.devices import MeasuringProtocol, open_device
    from ofa_nas.errors import ConfigError
    from ofa_nas.latency.profile import Progress, cached_table_path, profile_device
    from ofa_nas.space.search_space import SearchSpace

    if min(args.threads, args.rounds) < 1 or args.seed < 0 or (args.classes is not None and args.classes < 2):
        raise ConfigError("--threads and --rounds need at least 1, --seed 0, --classes 2")
    space = SearchSpace.load(args.space)
    classes = args.classes or (CLASSES if args.space == SPACE else space.classes)
    space = space.with_classes(classes)
    device = open_device(args.device)
    path = args.output or cached_table_path(space, device.info(), threads=args.threads)
    protocol = MeasuringProtocol(
        threads=args.threads,
        clock=args.clock,
        seed=args.seed,
        rounds=args.rounds,
        max_rounds=-(-args.rounds * 6 // 5),
    )
    with progress(f"measuring {args.device}", total=None, quiet=args.json) as bar:
        for record in profile_device(device, space, protocol=protocol, resolutions=args.resolution):
            if isinstance(record, Progress):
                bar.move_to(record.done, total=record.total, note=f"{record.resolution} px")
            else:
                table = record
    table.save(path)
    if args.json:
        print_json({"path": str(path), **summarise(table)})
    else:
        _show(table)
    err.print(f"wrote {path}")


def summarise(table: "LatencyTable") -> dict[str, object]:
    """What a user wants to know of a measured table, for JSON."""
    assert table.measured
    held = table.measured
    return {
        "name": table.name,
        "provenance": table.provenance,
        "device": asdict(table.device),
        "space": held.space,
        "classes": held.classes,
        "layers": len(held.rows),
        "notes": table.notes,
        "resolutions": {
            str(size): {
                "table": asdict(held.errors(resolution=size)),
                "macs_linear": asdict(held.errors(resolution=size, by_macs=True)),
            }
            for size in held.resolutions
        },
        "table": asdict(held.errors()),
        "macs_linear": asdict(held.errors(by_macs=True)),
        "noise_floor": held.noise_floor(),
    }


def _show(table: "LatencyTable") -> None:
    from ofa_nas.cli.console import make_table, out

    assert table.measured
    held = table.measured
    shown = make_table("px", "by", "mean", "p95", "worst", "bias", "< 5 %", "< 10 %", "rank", "noise")
    for size in (*held.resolutions, None):
        noise = f"{held.noise_floor(resolution=size):.1%}"
        for name, by_macs in (("table", False), ("MACs", True)):
            figures = held.errors(resolution=size, by_macs=by_macs)
            shown.add_row("all" if size is None else str(size), name, *_cells(figures), noise)
    device = table.device
    out.print(f"{device.name}: {device.cpu}, {device.runtime}, threads: {device.threads}, {device.precision}")
    out.print(f"{held.space}, {held.classes} classes: {len(held.rows)} layers; errors on unseen networks:")
    out.print(shown)
    out.print("MACs: a line through the MACs of the same anchors. Noise: what exact predictions would show.")
    for note in table.notes:
        out.print(note)


def _cells(figures: "ErrorFigures") -> tuple[str, ...]:
    errors = (f"{value:.1%}" for value in (figures.mape, figures.p95, figures.worst))
    shares = (f"{value:.0%}" for value in (figures.within_5 or 0.0, figures.within_10 or 0.0))
    return (*errors, f"{figures.bias:+.1%}", *shares, f"{figures.spearman or 0.0:.3f}")
