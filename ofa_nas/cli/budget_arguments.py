"""The budget flags that several commands share."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ofa_nas.cli.argument_groups import Arguments
from ofa_nas.cli.device_arguments import DeviceArgument, InOrder
from ofa_nas.search.budgets import KINDS, OBJECTIVES

if TYPE_CHECKING:
    from ofa_nas.pipeline.searching.search import Goal
    from ofa_nas.search.budgets import Budget

_METAVARS = {"ms": "TIME", "bytes": "SIZE", "MACs": "COUNT"}


def add_budgets(parser: argparse.ArgumentParser) -> None:
    """Add one flag a budget; each limits from above."""
    group = parser.add_argument_group("budgets", "upper limits, in any combination")
    for kind in KINDS.values():
        group.add_argument(kind.option, metavar=_METAVARS[kind.unit], help=kind.meaning)


def add_budgets_of_devices(parser: argparse.ArgumentParser) -> None:
    """Add the same flags, one of which may be a list, and a latency for each of several devices."""
    group = parser.add_argument_group(
        "budgets", "upper limits, in any combination; one of them may be a list"
    )
    for name, kind in KINDS.items():
        is_latency = name == "latency"
        meaning = kind.meaning.replace("the device", "the --device before it")
        group.add_argument(
            kind.option,
            dest="devices" if is_latency else name,
            action=InOrder if is_latency else "store",
            metavar=_METAVARS[kind.unit],
            help=f"{meaning}; or a list: {kind.examples}",
        )


def add_margin(parser: Arguments) -> None:
    """Add the flag that says how much of a latency budget is kept free."""
    parser.add_argument(
        "--margin",
        metavar="SHARE",
        help="fraction of a latency budget to keep in reserve for errors of the table, such as "
        "0.05; 0 for none [default: the table's 95th-percentile error]",
    )


def add_objective(parser: Arguments) -> None:
    """Add the flags that turn the search round: an accuracy to reach, at the least of one cost."""
    parser.add_argument(
        "--objective",
        choices=["accuracy", *OBJECTIVES],
        default="accuracy",
        help="what to optimise: accuracy within the budgets; or the lowest latency (on the first "
        "device), peak-memory, model-size or macs that reaches --accuracy [default: accuracy]",
    )
    parser.add_argument(
        "--accuracy", metavar="SHARE", help="top-1 accuracy that another --objective must reach, such as 65%%"
    )


def check_objective(args: argparse.Namespace, *, is_list: bool) -> None:
    """Refuse an objective without an accuracy, the reverse, and lists of budgets beside one.

    Raises:
        ConfigError: Says what is missing.
    """
    from ofa_nas.errors import ConfigError

    if args.objective == "accuracy":
        if args.accuracy is not None:
            raise ConfigError(
                f"--accuracy {args.accuracy[:40]} needs a cost to minimise: add --objective latency, "
                "peak-memory, model-size or macs"
            )
    elif args.accuracy is None:
        raise ConfigError(f"--objective {args.objective} needs the accuracy to reach: --accuracy 65%")
    elif is_list:
        raise ConfigError(
            f"--objective {args.objective} gives one answer: give one value for each budget, not a list"
        )
    elif args.objective == "latency" and not args.devices:
        raise ConfigError("--objective latency is the latency of a device: add --device host, or a table")


def read_goal(args: argparse.Namespace, device: str) -> "Goal | None":
    """The accuracy to reach and at the least of which cost; None where accuracy is the objective.

    Args:
        args: With `objective` and `accuracy`.
        device: Name of the first device's table.

    Raises:
        BudgetError: The accuracy is none.
    """
    from ofa_nas.pipeline.searching.search import Goal
    from ofa_nas.search.budgets import Cost, parse_accuracy

    if args.objective == "accuracy":
        return None
    name = OBJECTIVES[args.objective]
    return Goal(Cost(name, device if name == "latency" else ""), parse_accuracy(args.accuracy))


def read_budgets(args: argparse.Namespace) -> "tuple[Budget, ...]":
    """The budgets that were given.

    Raises:
        BudgetError: A text is no amount of the right unit, or a latency has no device.
    """
    from ofa_nas.search.budgets import parse_budget

    given = {name: getattr(args, name) for name in KINDS if getattr(args, name) is not None}
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
    given = {name: getattr(args, name) for name in KINDS if name != "latency"}
    others = [
        budget for name, text in given.items() if text is not None for budget in parse_budgets(name, text)
    ]
    return (*latencies, *others)
