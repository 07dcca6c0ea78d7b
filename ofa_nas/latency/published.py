"""What somebody else published of a device: latencies of layers that nobody here can check."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ofa_nas.space.layer import Layer


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """What somebody else says that a layer takes in networks of one resolution.

    Attributes:
        ms: Latency [ms].
        spread: Standard deviation of single runs over `ms`; None where the source does not say.
    """

    resolution: int
    layer: Layer
    ms: float
    spread: float | None


@dataclass(frozen=True)
class Published:
    """What an imported table rests on.

    Attributes:
        space: Name of the space.
        digest: Its digest.
        classes: Outputs of its classifier.
        resolutions: Rising [px].
        rows: One for each layer and resolution.
        licence: Of the data.
        files: SHA-256 of each file by its name.
    """

    space: str
    digest: str
    classes: int
    resolutions: tuple[int, ...]
    rows: tuple[PublishedRow, ...]
    licence: str
    files: Mapping[str, str]

    @cached_property
    def prices(self) -> dict[tuple[int, Layer], float]:
        """Latency of each layer at each resolution [ms]."""
        return {(row.resolution, row.layer): row.ms for row in self.rows}
