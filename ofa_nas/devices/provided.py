"""A machine with one of its execution providers: what runs other kernels, or another chip, is another device.

Behind a plus, an address names a provider of the ONNX Runtime there: `host+openvino`, `ssh+cuda://USER@HOST`,
with options `host+openvino,device_type=GPU`. Any backend can be addressed so.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ofa_nas.devices import agent
from ofa_nas.errors import DeviceError

if TYPE_CHECKING:
    from ofa_nas.devices import AnyModel, Device, DeviceInfo, Logits, MeasuringProtocol, Profile, Visit

_ADDRESS = re.compile(
    rf"(?P<backend>[A-Za-z0-9_.]+)\+(?P<provider>{agent.PROVIDER.pattern})(?P<rest>(?:://.*)?)",
    re.ASCII | re.DOTALL,
)
# What a name tells whole: no option, or the one that says which chip.
_TOLD = re.compile(r"[a-z0-9]+(?:,device_type=[A-Z]+(?:\.[0-9]+)?|,device_id=[0-9]+)?")


def split_provider(address: str) -> tuple[str, str]:
    """An address without its provider, and the provider with its options; empty where it names none."""
    found = _ADDRESS.fullmatch(address)
    if found is None:
        return address, ""
    return found["backend"] + found["rest"], plain_provider(found["provider"])


def with_provider(address: str, provider: str) -> str:
    """An address with an execution provider, if there are both, and the address names none itself."""
    if not address or not provider or split_provider(address)[1]:
        return address
    backend, sign, rest = address.partition("://")
    return f"{backend}+{provider}{sign}{rest}"


def plain_provider(text: str) -> str:
    """A provider, with its options, as it is compared: the name in small letters."""
    name, *options = text.split(",")
    return ",".join([name.lower(), *options])


def provided_name(name: str, provider: str) -> str:
    """How a device is called with a provider: by its name, the provider's, and the values of the options.

    Where these do not tell the options, the beginning of a hash does.
    """
    if not provider:
        return name
    words = [name, *(word.rpartition("=")[2] for word in provider.split(","))]
    if not _TOLD.fullmatch(provider):
        words.append(hashlib.sha256(provider.encode()).hexdigest()[:8])
    return re.sub(r"[^a-z0-9]+", "-", "-".join(words).lower())


@dataclass(frozen=True, slots=True)
class Provided:
    """A device all of whose models run with one execution provider.

    Attributes:
        device: The machine.
        provider: With its options, as in `MeasuringProtocol`.
    """

    device: "Device"
    provider: str

    def info(self) -> "DeviceInfo":
        """Describe it; its name is `provided_name`.

        Raises:
            DeviceError: The machine cannot be reached, or its ONNX Runtime has no such provider.
        """
        found = self.device.info()
        try:
            if "providers" in found.environment:  # a backend of somebody else's may not tell
                agent.find_provider(self.provider, found.environment["providers"], threads=1)
        except agent.AgentError as error:
            raise DeviceError(f"{found.name}: {error}") from error
        name = provided_name(found.name, self.provider)
        return replace(found, name=name, environment={**found.environment, "provider": self.provider})

    def time(self, models: "Sequence[AnyModel]", protocol: "MeasuringProtocol") -> "Iterator[Visit]":
        """Time models in interleaved visits; the first model is the sentinel."""
        yield from self.device.time(models, replace(protocol, provider=self.provider))

    def profile(self, models: "Sequence[AnyModel]", protocol: "MeasuringProtocol") -> "Iterator[Profile]":
        """Profile models, each in several sittings."""
        yield from self.device.profile(models, replace(protocol, provider=self.provider))

    def forget(self) -> None:
        """Drop what it keeps in order to go on after an interruption."""
        self.device.forget()


@dataclass(frozen=True, slots=True)
class ProvidedAnswering(Provided):
    """One that tells what its models answer, for the machine does."""

    def logits(self, models: "Sequence[AnyModel]", protocol: "MeasuringProtocol") -> "Iterator[Logits]":
        """Run models on `agent.make_inputs`."""
        yield from self.device.logits(models, replace(protocol, provider=self.provider))  # type: ignore[attr-defined]
