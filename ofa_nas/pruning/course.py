"""How a supernet of one architecture is trained between two steps, for lottery tickets."""

from collections.abc import Iterator

from ofa_nas.supernet.supernet import Supernet
from ofa_nas.training.batches import Batches
from ofa_nas.training.distributed import Ranks
from ofa_nas.training.loop import StepReport, check_batch, step_reports
from ofa_nas.training.recipe import Recipe
from ofa_nas.training.step import Learner
from ofa_nas.training.train import TrainingData


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
        check_batch(len(data.train), recipe.batch_size)
        self.supernet, self.recipe = supernet, recipe
        device = next(supernet.parameters()).device
        self._ranks = Ranks()
        self._batches = Batches(
            data.train, recipe, normalization=data.normalization, device=device, ranks=self._ranks
        )

    def __call__(self, first: int, last: int) -> Iterator[StepReport]:
        """Do the steps from `first` to before `last`, telling of each.

        Raises:
            TrainingError: The loss is not a number.
        """
        learner = Learner(self.supernet, self.recipe, self._batches, self._ranks)
        return step_reports(learner.step, self._batches, steps=range(first, last))
