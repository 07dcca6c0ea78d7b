"""Devices: where models are timed and profiled; `agent.py` is the core that runs on any of them.

A backend is `ofa_nas/devices/<name>.py` with `connect(address) -> Device`; its address is `name` or `name://…`,
with one of its execution providers `name+provider…`.
`job.py` is what backends share that send the agent elsewhere.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

from ofa_nas.assets import asset_names
from ofa_nas.devices import agent
from ofa_nas.devices.agent import AnyModel, Model
from ofa_nas.devices.provided import Provided, ProvidedAnswering, split_provider
from ofa_nas.errors import ConfigError, DeviceError
from ofa_nas.plugins import load_plugin, plugin_names
from ofa_nas.randomness import checked_seed

__all__ = [
    "HOST",
    "Answering",
    "AnyModel",
    "Device",
    "DeviceInfo",
    "Logits",
    "MeasuringProtocol",
    "Model",
    "NodeTime",
    "Profile",
    "Visit",
    "backend_of",
    "check_address",
    "describe_address",
    "describe_threads",
    "is_address",
    "open_device",
    "place_of",
    "provider_of",
]


LARGEST_SETTING = 2**63  # of a protocol; seeds are that large


@dataclass(frozen=True)
class MeasuringProtocol(agent.Protocol):
    """How to measure; `agent.py` tells of each setting."""

    def __post_init__(self) -> None:
        """Refuse what is no seed; keep it as a plain integer."""
        object.__setattr__(self, "seed", checked_seed(self.seed, most=LARGEST_SETTING))


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """What a latency may depend on.

    Attributes:
        name: How tables call it.
        cpu: Model of the processor.
        cores: Logical cores.
        onnxruntime: Version of ONNX Runtime; empty where it is another runtime.
        environment: Everything else that the agent told, as it told it.
    """

    name: str
    cpu: str
    cores: int
    onnxruntime: str
    environment: dict[str, Any]

    @classmethod
    def from_json(cls, record: dict[str, Any], *, name: str) -> Self:
        """Read a record of the agent."""
        return cls(name, record["cpu"], record["cores"], record["onnxruntime"], record)

    @property
    def provider(self) -> str:
        """Execution provider and its options, as in `MeasuringProtocol`; empty for ONNX Runtime's own."""
        return str(self.environment.get("provider", ""))

    @property
    def runtime(self) -> str:
        """ONNX Runtime and its provider, as tables name them."""
        version = f"onnxruntime {self.onnxruntime}" if self.onnxruntime else ""
        return ", ".join(filter(None, (version, self.provider)))


@dataclass(frozen=True, slots=True)
class Visit:
    """Timed runs of one model in one go.

    Attributes:
        model: Name of the model.
        wall_ms: Wall time of each run [ms].
        cpu_ms: Processor time of each run [ms].
        spoilt: Whether the machine was not itself meanwhile, and repeating did not help.
        throttled: Whether frequency, throttle bits or heat said so.
    """

    model: str
    wall_ms: tuple[float, ...]
    cpu_ms: tuple[float, ...]
    spoilt: bool
    throttled: bool

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Self:
        """Read a record of the agent."""
        walls, cpus = tuple(record["wall_ms"]), tuple(record["cpu_ms"])
        return cls(record["model"], walls, cpus, record["spoilt"], record["throttled"])


@dataclass(frozen=True, slots=True)
class NodeTime:
    """One node of ONNX Runtime's graph, and what it takes [ms].

    Attributes:
        elsewhere: Whether an execution provider runs it that is not ONNX Runtime's own on the CPU.
    """

    name: str
    operator: str
    ms: float
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Profile:
    """Node times of one model in one sitting, in execution order.

    Attributes:
        peak_bytes: Most bytes of activations at once; 0 where ONNX Runtime does not tell.
        resident_bytes: What a process of its own gains at most by loading and running the model; 0 where the
            protocol does not ask for it, or the system does not tell.
    """

    model: str
    nodes: tuple[NodeTime, ...]
    peak_bytes: int
    resident_bytes: int = 0

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Self:
        """Read a record of the agent."""
        nodes = tuple(
            NodeTime(node["name"], node["operator"], node["ms"], bool(node.get("elsewhere")))
            for node in record["nodes"]
        )
        return cls(record["model"], nodes, record["peak_bytes"], record.get("resident_bytes", 0))


@dataclass(frozen=True, slots=True)
class Logits:
    """What one model answers to the agent's made-up inputs.

    Attributes:
        model: Name of the model.
        logits: A row an input; not a number where the device gave none.
    """

    model: str
    logits: tuple[tuple[float, ...], ...]

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Self:
        """Read a record of the agent."""
        rows = (tuple(math.nan if one is None else float(one) for one in row) for row in record["logits"])
        return cls(record["model"], tuple(rows))


class Device(Protocol):
    """Something that runs ONNX models."""

    def info(self) -> DeviceInfo:
        """Describe it."""
        ...

    def time(self, models: Sequence[AnyModel], protocol: MeasuringProtocol) -> Iterator[Visit]:
        """Time models in interleaved visits; the first model is the sentinel."""
        ...

    def profile(self, models: Sequence[AnyModel], protocol: MeasuringProtocol) -> Iterator[Profile]:
        """Profile models, each in several sittings."""
        ...

    def forget(self) -> None:
        """Drop what it keeps in order to go on after an interruption."""
        ...


@runtime_checkable
class Answering(Protocol):
    """What a device may have besides: one without it is measured, but what it computes is not compared."""

    def logits(self, models: Sequence[AnyModel], protocol: MeasuringProtocol) -> Iterator[Logits]:
        """Run models on `agent.make_inputs`."""
        ...


HOST = "host"
_METHODS = ("info", "time", "profile", "forget")


def is_address(text: str) -> bool:
    """Whether a text is a device to measure, not the name of a table: `host`, `host+…`, or `backend://…`."""
    return text == HOST or text.startswith(f"{HOST}+") or "://" in text


def provider_of(address: str) -> str:
    """Execution provider that an address names, with its options; empty for ONNX Runtime's own on the CPU."""
    return split_provider(address)[1]


def place_of(address: str) -> str:
    """The machine that an address is for, whatever execution provider it names."""
    return split_provider(address)[0]


def backend_of(address: str) -> str:
    """Name of the backend, or the dotted path of a module, that an address is for."""
    return place_of(address).split("://", 1)[0]


def check_address(text: str, option: str = "") -> str:
    """The address as it was given.

    Raises:
        ConfigError: It is none, such as the name of a table; the message begins with the option.
    """
    if not is_address(text):
        told = f"{option} {text[:80]}".lstrip()
        raise ConfigError(f"{told}: expected host, or ssh://USER@HOST for a board; a table times nothing")
    return text


def describe_address(address: str) -> str:
    """Where a device is, for people."""
    return "this machine" if address == HOST else address


def describe_threads(count: int | None) -> str:
    """Number of threads, for people; None where it is unknown."""
    if count is None:
        return "threads unknown"
    return f"{count} thread{'s' * (count > 1)}"


def open_device(address: str) -> Device:
    """Connect to a device by its address, which may name an execution provider.

    Raises:
        DeviceError: It cannot be reached or cannot measure, or there is no such backend.
        ConfigError: The module of a dotted path cannot be imported.
    """
    backend = backend_of(address)
    is_own = "." in backend and "+" not in backend
    is_known = is_own or backend in plugin_names("devices")
    connect = getattr(load_plugin("devices", backend), "connect", None) if is_known else None
    if connect is None and is_own:
        raise DeviceError(f"{address[:80]}: no device: the module lacks connect")
    if connect is None:
        is_table = backend in asset_names("latency_tables", suffix=".json")
        table = " (that is a latency table)" if is_table else ""
        raise DeviceError(
            f"there is no {address[:80]!r} to measure{table}: this machine is host, a board ssh://USER@HOST, "
            "host+cuda one of its execution providers, and a module of your own has a dotted path"
        )
    device: Device = connect(place_of(address))
    missing = [name for name in _METHODS if not hasattr(device, name)]
    if missing:
        raise DeviceError(
            f"{address[:80]}: connect gave {type(device).__name__}, which lacks {', '.join(missing)}"
        )
    provider = provider_of(address)
    if not provider:
        return device
    return (
        ProvidedAnswering(device, provider) if isinstance(device, Answering) else Provided(device, provider)
    )
