"""Progress of commands that train."""

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypeVar

from ofa_nas.cli.signals import signals_noted

if TYPE_CHECKING:
    from ofa_nas.cli.console import ProgressBar
    from ofa_nas.training.distributed import Ranks
    from ofa_nas.training.loop import StepReport

End = TypeVar("End")


def follow_training(
    records: Generator[object, None, None],
    end: type[End],
    *,
    show: "Callable[[ProgressBar, Any], None]",
    title: str,
    stopped: str,
    quiet: bool,
    ranks: "Ranks | None" = None,
) -> End | None:
    """Show the records; a first Ctrl-C ends the step and leaves a checkpoint, a second one kills.

    Of several processes each may be told to end, and not at the same moment. One that left alone would have
    the others fail within a step, before they have saved; so they agree after each step.

    Args:
        records: Of a training.
        end: Kind of its last record.
        show: How results are shown: an epoch, or a round.
        title: What is going on, such as `training`.
        stopped: What is said of a Ctrl-C, such as how to go on.
        quiet: Show no bar.
        ranks: This process among those that train together: the first one tells what happens.

    Returns:
        The last record; None in a process that gets none.
    """
    from ofa_nas.cli.console import progress
    from ofa_nas.training.loop import StepReport

    with signals_noted() as signals, progress("decoding", total=None, quiet=quiet) as bar:
        screen = _Screen(bar, show, title=title, is_first=ranks is None or ranks.is_first)
        for record in records:
            if isinstance(record, end):
                return record
            screen.show(record)
            asked = bool(signals)
            if ranks is not None and ranks.count > 1 and screen.is_training:  # only steps are told to all
                asked = isinstance(record, StepReport) and ranks.agree(asked)
            if asked:
                records.close()
                screen.tell(f"stopped; {stopped}")
                raise KeyboardInterrupt(*signals[:1])
    return None


class _Screen:
    """Where people follow a training: a bar of images decoded, then of steps, and lines that stay."""

    def __init__(
        self,
        bar: "ProgressBar",
        show_result: "Callable[[ProgressBar, Any], None]",
        *,
        title: str,
        is_first: bool,
    ) -> None:
        self.bar, self.show_result, self.title, self.is_first = bar, show_result, title, is_first
        self.found, self.is_training = "", False

    def show(self, record: object) -> None:
        """Show a record, by its kind."""
        from ofa_nas.activity import Activity
        from ofa_nas.data.packed import PackProgress
        from ofa_nas.pipeline.training.training_run import FoundImages
        from ofa_nas.training.loop import StepReport
        from ofa_nas.training.state import RateChange

        if isinstance(record, PackProgress):
            self.bar.move_to(record.done, total=record.total)
        elif isinstance(record, FoundImages):
            what = "windows" if record.is_signal else "images"
            self.found = f"{record.train} {what} of {record.classes} classes, and {record.held_out} held out"
        elif isinstance(record, StepReport):
            self._show_step(record)
        elif isinstance(record, Activity):
            self.bar.show(record)
        elif isinstance(record, RateChange):
            rates = f"{record.learning_rate:g} from step {record.step} on, {record.before:g} before"
            self.tell(f"peak learning rate {rates}")
        else:
            self.show_result(self.bar, record)

    def _show_step(self, report: "StepReport") -> None:
        if not self.is_training:
            self.is_training = True
            self.tell(self.found)
            self.bar.begin(self.title, total=report.total_steps, done=report.step - 1)
        note = f"{report.phase}, {report.images_per_s:.0f} images/s, loss {report.loss:.2f}"
        self.bar.move_to(report.step, total=report.total_steps, note=note)

    def tell(self, line: str) -> None:
        """Print a line, if there is something to tell and this process is to tell it."""
        from ofa_nas.cli.console import err

        if line and self.is_first:
            err.print(line)
