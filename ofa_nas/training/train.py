"""Training as a stream of reports, with a checkpoint to go on from."""

from collections.abc import Generator
from dataclasses import dataclass

from ofa_nas.supernet.supernet import Supernet
from ofa_nas.training.batches import Batches
from ofa_nas.training.distributed import ALONE, Ranks
from ofa_nas.training.evaluate import accuracy_of
from ofa_nas.training.loop import Checkpointing, Loop, StepReport
from ofa_nas.training.recipe import Recipe
from ofa_nas.training.splits import TrainingData
from ofa_nas.training.state import EpochEnd, RateChange, data_meta
from ofa_nas.training.step import Learner


@dataclass(frozen=True, slots=True)
class EpochReport:
    """End of an epoch (or of the training): held-out accuracy after calibration, in [0, 1]."""

    step: int
    epoch: float
    phase: str
    loss: float
    smallest: float
    middle: float
    largest: float
    elapsed_s: float

    @property
    def scalars(self) -> dict[str, float]:
        """What TensorBoard draws."""
        return {f"accuracy/{name}": getattr(self, name) for name in ("smallest", "middle", "largest")}


Report = StepReport | RateChange | EpochReport


def train(
    supernet: Supernet,
    data: TrainingData,
    recipe: Recipe,
    *,
    checkpointing: Checkpointing,
    ranks: Ranks = ALONE,
) -> Generator[Report, None, None]:
    """Train a supernet in place, on the device that it is on.

    Closing the generator between two reports writes a checkpoint, so an interrupted training loses nothing.

    Args:
        supernet: Changed in place.
        data: Images stay uint8; a batch is cropped, resized and normalised on the device.
        recipe: Every number of the training.
        checkpointing: Where it is kept, and whether it goes on from there.
        ranks: This process among those that train together; the first one evaluates and writes.

    Yields:
        A `StepReport` a step (on CUDA every tenth); an `EpochReport` at the end of each epoch and of the
        training, from the first process alone. First of all, if it is resumed, every `RateChange`.

    Raises:
        ConfigError: The processes cannot share a batch.
        LeftAloneError: Another process ended.
        DataError: There are fewer images than one batch.
        TrainingError: The loss or a weight is not a number.
    """
    device = next(supernet.parameters()).device
    with ranks.in_turn():
        ranks.check(recipe.batch_size)
        batches = Batches(data.train, recipe, normalization=data.normalization, device=device, ranks=ranks)
    yield from _Loop(Learner(supernet, batches), data, checkpointing).kept_reports()


class _Loop(Loop[EpochReport]):
    """Reports of an epoch are accuracies on held-out images."""

    def __init__(self, learner: Learner, data: TrainingData, checkpointing: Checkpointing) -> None:
        super().__init__(learner, checkpointing, meta=data_meta(data.train, data.normalization))
        self.data = data

    def epoch_report(self, end: EpochEnd) -> EpochReport:
        """Evaluate the smallest, the middle and the largest subnet."""
        data, space = self.data, self.learner.supernet.space
        archs = (space.smallest, space.middle, space.largest)
        found = {
            arch: accuracy_of(
                self.learner.supernet,
                arch,
                calibration=data.calibration,
                split=data.held_out,
                normalization=data.normalization,
            )
            for arch in dict.fromkeys(archs)  # where there is no choice, they are one
        }
        smallest, middle, largest = map(found.__getitem__, archs)
        return EpochReport(end.step, end.epoch, end.phase, end.loss, smallest, middle, largest, end.elapsed_s)
