"""Several devices on one command line: `--latency`, `--measure` and `--threads` belong to the one before."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ofa_nas.errors import BudgetError, ConfigError

DEVICE, LATENCY, THREADS = "--device", "--latency", "--threads"
MOST_THREADS = 4096


class InOrder(argparse.Action):
    """Append option and text to one list, which keeps the order of several options."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """Append."""
        given = getattr(namespace, self.dest) or []
        setattr(namespace, self.dest, [*given, (self.option_strings[0], values)])


@dataclass(frozen=True, slots=True)
class DeviceArgument:
    """A `--device` and what was given for it.

    Attributes:
        text: What the user calls it.
        latency: Budget, or a list of them; None without one.
        measure: Address of where to time, beside a table; None without one.
        threads: Of ONNX Runtime there.
    """

    text: str
    latency: str | None = None
    measure: str | None = None
    threads: int = 1

    @property
    def address(self) -> str:
        """Where to time; empty for nowhere."""
        from ofa_nas.devices import is_address

        return self.measure or (self.text if is_address(self.text) else "")


def read_devices(given: Sequence[tuple[str, str]]) -> tuple[DeviceArgument, ...]:
    """Devices from options in their order; what stands before an only device belongs to it too.

    Threads before the first of several devices are those of all that have none of their own.

    Raises:
        BudgetError: A latency has no device, or a device has two.
        ConfigError: A device is given twice, an address is none or has no table, or threads are no number or
            have no device.
    """
    count = sum(option == DEVICE for option, _ in given)
    if count == 1:
        given = sorted(given, key=lambda one: one[0] != DEVICE)
    devices: list[DeviceArgument] = []
    threads = 1
    for option, text in given:
        if option == DEVICE:
            if any(text == device.text for device in devices):
                raise ConfigError(f"--device {text[:80]} is given twice: give each device once")
            devices.append(DeviceArgument(text, threads=threads))
        elif option == THREADS:
            count_of_threads = _read_threads(text)
            if devices:
                devices[-1] = replace(devices[-1], threads=count_of_threads)
            else:
                threads = count_of_threads
        elif devices:
            devices[-1] = _with(devices[-1], option, text)
        else:
            raise _homeless(option, text, count)
    if given and not devices:
        raise ConfigError(f"--threads {threads} needs a device: add --device host, a table or an address")
    return tuple(devices)


def _with(device: DeviceArgument, option: str, text: str) -> DeviceArgument:
    from ofa_nas.devices import check_address

    if option == LATENCY:
        if device.latency is not None:
            raise BudgetError(
                f"--latency {text[:40]}: {device.text[:80]} has --latency {device.latency[:40]} already; put "
                f"each behind its own --device, or give a list: --latency {device.latency[:40]},{text[:40]}"
            )
        return replace(device, latency=text)
    check_address(text, "--measure")
    if device.address not in ("", text):
        raise ConfigError(
            f"--measure says where the device of a table is, and {device.address[:80]} is known: give the "
            "table to --device by its name or file, and one address"
        )
    return replace(device, measure=text)


def _read_threads(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= MOST_THREADS):
        raise ConfigError(f"--threads {text[:40]}: expected 1 to {MOST_THREADS}")
    return int(text)


def _homeless(option: str, text: str, count: int) -> BudgetError | ConfigError:
    if count:
        return ConfigError(f"{option} {text[:80]}: put it behind the --device that it is for")
    if option == LATENCY:
        return BudgetError(
            "a latency budget needs a device: add --device host, a shipped table or a table file"
        )
    return ConfigError(
        "--measure says where the device of a table is: give the table to --device by its name or file"
    )
