"""This machine: the agent's functions, run in this process."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ofa_nas.devices import AnyModel, Device, DeviceInfo, MeasuringProtocol, Profile, Visit, agent
from ofa_nas.errors import DeviceError


class Host:
    """The machine that this process runs on."""

    def info(self) -> DeviceInfo:
        """Describe it."""
        with _refusals():
            return DeviceInfo.from_json(agent.probe(), name="host")

    def time(self, models: Sequence[AnyModel], protocol: MeasuringProtocol) -> Iterator[Visit]:
        """Time models in interleaved visits; the first model is the sentinel."""
        with _refusals():
            yield from map(Visit.from_json, agent.time_models(models, protocol))

    def profile(self, models: Sequence[AnyModel], protocol: MeasuringProtocol) -> Iterator[Profile]:
        """Profile models, each in several sittings."""
        with _refusals():
            yield from map(Profile.from_json, agent.profile_models(models, protocol))

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


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except agent.AgentError as error:
        raise DeviceError(f"host: {error}") from error
