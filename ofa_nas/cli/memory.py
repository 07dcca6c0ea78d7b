"""`ofa-nas memory`: what training a subnet takes, method by method, by account and as measured."""

import argparse
from typing import TYPE_CHECKING

from ofa_nas.cli.supernet_arguments import add_supernet

if TYPE_CHECKING:
    from ofa_nas.pipeline.adapting.transfer_memory import MethodMemory


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `memory`."""
    parser.add_argument(
        "subnet",
        metavar="SUBNET",
        help="architecture (smallest, middle, largest, or a text such as 128/3x1/5x6.3x4/…) or an "
        "ONNX file exported by ofa-nas",
    )
    add_supernet(parser, note=", that an architecture is of; weights are not needed")
    parser.add_argument("--space", help="search space of the architecture, in place of a supernet")
    parser.add_argument(
        "--classes", metavar="COUNT", type=int, help="classes of the new task [default: those of the subnet]"
    )
    parser.add_argument("--batch", metavar="COUNT", type=int, default=8, help="images per step [default: 8]")
    parser.add_argument(
        "--methods",
        metavar="METHODS",
        help="comma-separated: full, last, bn, bias, lite, lite+bias [default: all of them]",
    )


def run(args: argparse.Namespace) -> None:
    """Count, measure and list."""
    from ofa_nas.cli.console import give_document, progress
    from ofa_nas.cli.torch_process import calm_threads
    from ofa_nas.errors import ConfigError

    if args.batch < 1:
        raise ConfigError(f"--batch {args.batch}: expected 1 or more")
    calm_threads()
    from ofa_nas.pipeline.adapting.transfer_memory import method_memories
    from ofa_nas.pipeline.adapting.transfer_source import named_subnet
    from ofa_nas.space.points import named_architecture
    from ofa_nas.space.search_space import SearchSpace
    from ofa_nas.transfer.methods import METHODS, Method

    names = args.methods.split(",") if args.methods else METHODS
    methods = tuple(Method.named(name, option="--methods").name for name in names)
    if args.space is not None and args.subnet.endswith(".onnx"):
        raise ConfigError(f"{args.subnet} tells its own search space: leave out --space")
    if args.space is not None:
        space = SearchSpace.load(args.space)
        arch = named_architecture(space, args.subnet)
    else:
        space, arch = named_subnet(args.subnet, args.supernet)
    space = space.with_classes(args.classes or space.classes)
    results = []
    with progress("measuring", total=len(methods), quiet=args.json) as bar:
        for result in method_memories(space, arch, methods=methods, batch_size=args.batch):
            results.append(result)
            bar.advance(note=result.method)
    document = {
        "architecture": arch,
        "classes": space.classes,
        "batch_size": args.batch,
        "bytes": [_row(result) for result in results],
    }
    if not give_document(args, document):
        _show(results, batch_size=args.batch)


def _row(result: "MethodMemory") -> dict[str, object]:
    return {
        "method": result.method,
        "account": result.account,
        "kept": {"ours": result.kept, "torch": result.kept_by_torch},
        "growth": {
            name: None if growth is None else {"step": growth.step, "optimizer_state": growth.state}
            for name, growth in (("ours", result.growth), ("torch", result.growth_by_torch))
        },
    }


def _show(results: "list[MethodMemory]", *, batch_size: int) -> None:
    from ofa_nas.cli.console import make_table, wide

    table = make_table(
        f"batch {batch_size}", "account", "kept: ours", "PyTorch", "growth: ours", "PyTorch", "Adam's state"
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for result in results:
        growth, other = result.growth, result.growth_by_torch
        table.add_row(
            result.method,
            _megabytes(result.account),
            _megabytes(result.kept),
            _megabytes(result.kept_by_torch),
            _megabytes(growth.step if growth else None),
            _megabytes(other.step if other else None),
            _megabytes(growth.state if growth else None),
        )
    wide.print(table)
    wide.print(
        "account: parameters and activations as the paper counts them; kept: for the backward pass; growth: "
        "of a process during a step, gradients in it, one thread"
    )


def _megabytes(value: float | None) -> str:
    return "unknown" if value is None else f"{value / 1e6:.1f} MB"
