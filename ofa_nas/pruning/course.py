"""How a supernet of one architecture is trained between two steps, for lottery tickets."""

from collections.abc import Iterator

from ofa_nas.supernet.supernet import Supernet
from ofa_nas.training.batches import Batches
from ofa_nas.training.loop import StepReport, step_reports
from ofa_nas.training.recipe import Recipe
from ofa_nas.training.splits import TrainingData
from ofa_nas.training.step import Learner


class SupernetCourse:
    """Trains a supernet in place, from any step to any other; its momentum begins at 0 each time.

    Batches, crops and learning rates follow from the number of the step, so they are those of the whole
    training, wherever it begins.

    Args:
        supernet: On the device that trains.
        data: Images stay uint8; a batch is cropped, resized and normalised on the device.
        recipe: Of one phase.

    Raises:
        DataError: There are fewer images than one batch.
    """

    def __init__(self, supernet: Supernet, data: TrainingData, recipe: Recipe) -> None:
        device = next(supernet.parameters()).device
        self._supernet = supernet
        self._batches = Batches(data.train, recipe, normalization=data.normalization, device=device)

    def __call__(self, first: int, last: int) -> Iterator[StepReport]:
        """Do the steps from `first` to before `last`, telling of each.

        Raises:
            TrainingError: The loss is not a number.
        """
        learner = Learner(self._supernet, self._batches)
        return step_reports(learner.step, self._batches, steps=range(first, last))
