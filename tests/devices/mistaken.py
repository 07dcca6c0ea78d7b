"""A backend whose machine runs other weights than it was sent: those of the file that the address names."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ofa_nas.devices import AnyModel, Logits, MeasuringProtocol, Model
from ofa_nas.devices.host import Host


class Mistaken(Host):
    """This machine, with another file in place of any that it is to answer with."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def logits(self, models: Sequence[AnyModel], protocol: MeasuringProtocol) -> Iterator[Logits]:
        """What the other file answers."""
        return super().logits([Model(one.name, self.path.read_bytes()) for one in models], protocol)


def connect(address: str) -> Mistaken:
    """`tests.devices.mistaken://PATH`."""
    return Mistaken(Path(address.partition("://")[2]))
