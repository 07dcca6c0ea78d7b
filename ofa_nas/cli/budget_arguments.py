"""The budget flags that several commands share."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ofa_nas.cli.device_arguments import DeviceArgument, InOrder

if TYPE_CHECKING:
    from ofa_nas.search.budgets import Budget

_FLAGS = {
    "latency": ("TIME", "latency on the device, such as 30ms"),
    "peak_memory": ("SIZE", "activation memory at its peak, such as 8MB"),
    "model_size": ("SIZE", "weights, such as 6MB"),
    "macs": ("COUNT", "multiply-accumulates, such as 200M"),
}

_LISTS = {"latency": "10,15,20ms", "peak_memory": "2,4,8MB", "model_size": "4,6MB", "macs": "50,100M"}


def add_budgets(parser: argparse.ArgumentParser) -> None:
    """Add one flag a budget; each limits from above."""
    group = parser.add_argument_group("budgets", "the most that the subnet may cost; any of them together")
    for name, (metavar, meaning) in _FLAGS.items():
        group.add_argument(f"--{name.replace('_', '-')}", metavar=metavar, help=meaning)


def add_budgets_of_devices(parser: argparse.ArgumentParser) -> None:
    """Add the same flags, one of which may be a list, and a latency for each of several devices."""
    group = parser.add_argument_group(
        "budgets", "the most that the subnet may cost; any of them together, one of them as a list"
    )
    for name, (metavar, meaning) in _FLAGS.items():
        is_latency = name == "latency"
        group.add_argument(
            f"--{name.replace('_', '-')}",
            dest="devices" if is_latency else name,
            action=InOrder if is_latency else "store",
            metavar=metavar,
            help=f"{meaning.replace('the device', 'the --device before it')}, or a list: {_LISTS[name]}",
        )


def add_margin(parser: argparse.ArgumentParser) -> None:
    """Add the flag that says how much of a latency budget is kept free."""
    parser.add_argument(
        "--margin",
        metavar="SHARE",
        help="share of a latency budget that predictions stay below it, such as 0.05; 0 for none (the "
        "table's error at its 95th percentile)",
    )


def read_budgets(args: argparse.Namespace) -> "tuple[Budget, ...]":
    """The budgets that were given.

    Raises:
        BudgetError: A text is no amount of the right unit, or a latency has no device.
    """
    from ofa_nas.search.budgets import parse_budget

    given = {name: getattr(args, name) for name in _FLAGS if getattr(args, name) is not None}
    device = getattr(args, "device", None) or ""
    return tuple(
        parse_budget(name, text, device=device if name == "latency" else "") for name, text in given.items()
    )


def read_budgets_of_devices(
    args: argparse.Namespace, devices: Sequence[DeviceArgument]
) -> "tuple[Budget, ...]":
    """The budgets that were given; those of a list have one name and device.

    Raises:
        BudgetError: A text is no amount of the right unit, or no list of them.
    """
    from ofa_nas.search.budgets import parse_budgets

    latencies = [
        budget
        for device in devices
        if device.latency is not None
        for budget in parse_budgets("latency", device.latency, device=device.text)
    ]
    given = {name: getattr(args, name) for name in _FLAGS if name != "latency"}
    others = [
        budget for name, text in given.items() if text is not None for budget in parse_budgets(name, text)
    ]
    return (*latencies, *others)
