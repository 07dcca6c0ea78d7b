"""`ofa-nas spaces`: the search spaces that ship, or the stages of one."""

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ofa_nas.figures import format_bytes, format_count

if TYPE_CHECKING:
    from ofa_nas.space.architecture import Architecture
    from ofa_nas.space.search_space import SearchSpace


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `spaces`."""
    parser.add_argument(
        "name", metavar="NAME", nargs="?", help="a shipped space, or a .toml file [default: list all]"
    )


@dataclass(frozen=True, slots=True)
class Extreme:
    """The smallest or the largest architecture of a space and its costs."""

    architecture: "Architecture"
    macs: int
    parameters: int
    weight_bytes: int
    peak_activation_bytes: int


@dataclass(frozen=True, slots=True)
class SpaceSummary:
    """One row of the list."""

    name: str
    description: str
    source: str
    digest: str
    architectures: int
    resolutions: tuple[int, ...]
    classes: int
    smallest: Extreme
    largest: Extreme


def summarise(space: "SearchSpace") -> SpaceSummary:
    """Count a space and cost its two ends."""
    return SpaceSummary(
        name=space.name,
        description=space.description,
        source=space.source,
        digest=space.digest,
        architectures=space.cardinality,
        resolutions=space.resolutions,
        classes=space.classes,
        smallest=_cost(space, space.smallest),
        largest=_cost(space, space.largest),
    )


def _cost(space: "SearchSpace", arch: "Architecture") -> Extreme:
    from ofa_nas.space.costs import layer_parameters, network_macs
    from ofa_nas.space.precision import peak_bytes, weight_bytes

    layers = list(space.layers(arch))
    return Extreme(
        architecture=arch,
        macs=network_macs(space, arch),
        parameters=sum(map(layer_parameters, layers)),
        weight_bytes=sum(map(weight_bytes, layers)),
        peak_activation_bytes=max(map(peak_bytes, layers)),
    )


def run(args: argparse.Namespace) -> None:
    """List every space, or show one."""
    from ofa_nas.assets import asset_names
    from ofa_nas.cli.console import give_document
    from ofa_nas.space.search_space import SearchSpace

    names = [args.name] if args.name else asset_names("search_spaces", suffix=".toml")
    spaces = [SearchSpace.load(name) for name in names]
    document = (
        {"space": summarise(spaces[0]), "stages": spaces[0].stages}
        if args.name
        else {"spaces": [summarise(space) for space in spaces]}
    )
    if give_document(args, document):
        return
    if args.name:
        _show(spaces[0])
    else:
        _list(spaces)


def _list(spaces: list["SearchSpace"]) -> None:
    from ofa_nas.cli.console import make_table, out

    table = make_table("space", "subnets", "px", "MACs", "parameters", "peak activation")
    for space in spaces:
        table.add_row(*_cells(summarise(space)))
    out.print(table)
    classes = ", ".join(f"{space.name} {space.classes}" for space in spaces)
    out.print("Two lines a space: its smallest subnet, then its largest, of so many classes")
    out.print(f"(a supernet may have others): {classes}.")


def _cells(summary: SpaceSummary) -> tuple[str, ...]:
    ends, px = (summary.smallest, summary.largest), summary.resolutions
    return (
        summary.name,
        f"{summary.architectures:.1e}" if summary.architectures >= 1e6 else str(summary.architectures),
        f"{px[0]}\n{px[-1]}",
        "\n".join(format_count(end.macs) for end in ends),
        "\n".join(format_count(end.parameters) for end in ends),
        "\n".join(format_bytes(end.peak_activation_bytes) for end in ends),
    )


def _show(space: "SearchSpace") -> None:
    from ofa_nas.cli.console import make_table, out
    from ofa_nas.space.operators import size_unit

    out.print(f"[bold]{space.name}[/bold]: {space.description}\nSource: {space.source}")
    out.print(f"Resolutions: {_join(space.resolutions)} {size_unit(space.axes)}")
    out.print(f"Classes: {space.classes}, where no supernet says otherwise")
    table = make_table("stage", "block", "width", "stride", "kernels", "expand", "depths", "activation", "SE")
    for index, stage in enumerate(space.stages):
        expand = f"{stage.mid_width} ch." if stage.mid_width else _join(stage.expand_ratios)
        choices = (_join(stage.kernel_sizes), expand, _join(stage.depths))
        sizes = (str(stage.width), str(stage.stride))
        squeeze_excite = "yes" if stage.squeeze_excite else "no"
        table.add_row(str(index), stage.block, *sizes, *choices, stage.activation, squeeze_excite)
    out.print(table)
    for name, arch in (("smallest", space.smallest), ("largest", space.largest)):
        out.print(f"{name}: {arch}")
    for name, point in space.points.items():
        out.print(f"{name}: {point.architecture}" + (f" ({point.note})" if point.note else ""), markup=False)


def _join(values: tuple[int, ...]) -> str:
    return " ".join(str(value) for value in values)
