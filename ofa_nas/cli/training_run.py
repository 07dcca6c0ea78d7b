"""What `train` and `pretrain` have in common on the command line: the recipe's settings, and progress."""

import argparse
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ofa_nas.cli.signals import signals_noted

if TYPE_CHECKING:
    from ofa_nas.data.packed import PackProgress
    from ofa_nas.training.loop import StepReport
    from ofa_nas.training.recipe import Purpose, Recipe

Epoch = TypeVar("Epoch")
End = TypeVar("End")


def chosen_recipe(args: argparse.Namespace, purpose: "Purpose") -> "Recipe":
    """The recipe of a command line, with the settings that override it."""
    from ofa_nas.training.recipe import Recipe, Settings

    settings = Settings(
        epochs=args.epochs,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        random_subnets=args.random_subnets,
        crop_scale=args.crop_scale,
        seed=args.seed,
    )
    return Recipe.load(args.recipe, purpose=purpose).override(settings)


def follow(
    records: "Generator[PackProgress | StepReport | Epoch | End, None, None]",
    end: type[End],
    *,
    tell: Callable[[Epoch], str],
    title: str,
    folder: Path,
    quiet: bool,
    is_first: bool = True,
) -> End | None:
    """Show the records; a first Ctrl-C ends the step and leaves a checkpoint, a second one kills.

    Args:
        records: Of a training.
        end: Kind of its last record.
        tell: An epoch in one line.
        title: What is going on, such as `training`.
        folder: Run folder.
        quiet: Show no bar.
        is_first: Whether this process, of several that train together, tells what happens.

    Returns:
        The last record; None in a process that gets none.
    """
    from ofa_nas.cli.console import err, progress
    from ofa_nas.data.packed import PackProgress
    from ofa_nas.training.loop import StepReport

    with signals_noted() as signals, progress("decoding", total=None, quiet=quiet) as bar:
        is_training = False
        for record in records:
            if isinstance(record, end):
                return record
            if isinstance(record, PackProgress):
                bar.move_to(record.done, total=record.total)
            elif isinstance(record, StepReport):
                if not is_training:
                    bar.begin(title, total=record.total_steps, done=record.step - 1)
                    is_training = True
                note = f"{record.phase}, {record.images_per_s:.0f} images/s, loss {record.loss:.2f}"
                bar.move_to(record.step, total=record.total_steps, note=note)
            else:
                err.print(tell(record))  # type: ignore[arg-type]  # what is left is an epoch
            if signals:
                records.close()
                if is_first:
                    err.print(f"stopped; --resume continues in {folder}")
                raise KeyboardInterrupt
    return None
