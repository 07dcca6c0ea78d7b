"""This machine: the agent's functions, run in this process."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ofa_nas.devices import AnyModel, Device, DeviceInfo, Logits, MeasuringProtocol, Profile, Visit, agent
from ofa_nas.devices.job import PackedModel
from ofa_nas.errors import DeviceError


class Host:
    """The machine that this process runs on."""

    def info(self) -> DeviceInfo:
        """Describe it as it is now.

        Raises:
            DeviceError: It cannot be measured, or must not be as it is.
        """
        with _refusals():
            return DeviceInfo.from_json(agent.examine(), name="host")

    def time(self, models: Sequence[AnyModel], protocol: MeasuringProtocol) -> Iterator[Visit]:
        """Time models in interleaved visits; the first model is the sentinel."""
        with _refusals():
            sizes, free = _sizes(models), agent.free_bytes()
            fitted = agent.fit_memory(protocol, sizes, free)
            _check_memory(agent.needed_bytes(sizes, "time", fitted), free)
            yield from map(Visit.from_json, agent.time_models(models, fitted))

    def profile(self, models: Sequence[AnyModel], protocol: MeasuringProtocol) -> Iterator[Profile]:
        """Profile models, each in several sittings."""
        with _refusals():
            _check_memory(agent.needed_bytes(_sizes(models), "profile", protocol), agent.free_bytes())
            yield from map(Profile.from_json, agent.profile_models(models, protocol))

    def logits(self, models: Sequence[AnyModel], protocol: MeasuringProtocol) -> Iterator[Logits]:
        """Run models on `agent.make_inputs`."""
        with _refusals():
            _check_memory(agent.needed_bytes(_sizes(models), "logits", protocol), agent.free_bytes())
            yield from map(Logits.from_json, agent.compute_logits(models, protocol))

    def forget(self) -> None:
        """Nothing is kept."""


def connect(address: str) -> Device:
    """This machine; its address is `host`.

    Raises:
        DeviceError: The address says more than that.
    """
    if address != "host":
        raise DeviceError(f"{address[:80]}: this machine is called host, without anything behind it")
    return Host()


def _sizes(models: Sequence[AnyModel]) -> list[int]:
    return [one.file.bytes if isinstance(one, PackedModel) else len(one.content) for one in models]


def _check_memory(needed: int, free: int) -> None:
    faults = agent.find_memory_faults(needed, free)
    if faults:
        raise agent.AgentError(faults[0])


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except agent.AgentError as error:
        raise DeviceError(f"host: {error}") from error
