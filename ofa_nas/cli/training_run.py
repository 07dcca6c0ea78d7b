"""Progress of commands that train."""

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypeVar

from ofa_nas.cli.signals import signals_noted

if TYPE_CHECKING:
    from ofa_nas.cli.console import ProgressBar

End = TypeVar("End")


def follow_training(
    records: Generator[object, None, None],
    end: type[End],
    *,
    show: "Callable[[ProgressBar, Any], None]",
    title: str,
    stopped: str,
    quiet: bool,
    is_first: bool = True,
) -> End | None:
    """Show the records; a first Ctrl-C ends the step and leaves a checkpoint, a second one kills.

    Args:
        records: Of a training.
        end: Kind of its last record.
        show: How results are shown: an epoch, or a round.
        title: What is going on, such as `training`.
        stopped: What is said of a Ctrl-C, such as how to go on.
        quiet: Show no bar.
        is_first: Whether this process, of several that train together, tells what happens.

    Returns:
        The last record; None in a process that gets none.
    """
    from ofa_nas.activity import Activity
    from ofa_nas.cli.console import progress
    from ofa_nas.data.packed import PackProgress
    from ofa_nas.pipeline.training.training_run import FoundImages
    from ofa_nas.training.loop import StepReport
    from ofa_nas.training.state import RateChange

    with signals_noted() as signals, progress("decoding", total=None, quiet=quiet) as bar:
        is_training, found = False, ""
        for record in records:
            if isinstance(record, end):
                return record
            if isinstance(record, PackProgress):
                bar.move_to(record.done, total=record.total)
            elif isinstance(record, FoundImages):
                what = "windows" if record.is_signal else "images"
                found = f"{record.train} {what} of {record.classes} classes, and {record.held_out} held out"
            elif isinstance(record, StepReport):
                if not is_training:
                    _tell(found, is_first=is_first)
                    bar.begin(title, total=record.total_steps, done=record.step - 1)
                    is_training = True
                note = f"{record.phase}, {record.images_per_s:.0f} images/s, loss {record.loss:.2f}"
                bar.move_to(record.step, total=record.total_steps, note=note)
            elif isinstance(record, Activity):
                bar.show(record)
            elif not isinstance(record, RateChange):
                show(bar, record)
            else:
                rates = f"{record.learning_rate:g} from step {record.step} on, {record.before:g} before"
                _tell(f"peak learning rate {rates}", is_first=is_first)
            if signals:
                records.close()
                _tell(f"stopped; {stopped}", is_first=is_first)
                raise KeyboardInterrupt(signals[0])
    return None


def _tell(line: str, *, is_first: bool) -> None:
    from ofa_nas.cli.console import err

    if line and is_first:
        err.print(line)
