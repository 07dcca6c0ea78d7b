"""`ofa-nas train`: train a supernet, by the sandwich rule or by progressive shrinking."""

import argparse
from typing import TYPE_CHECKING

from ofa_nas.cli.delivery import show_licence
from ofa_nas.cli.supernet_arguments import add_first_supernet
from ofa_nas.cli.training_arguments import (
    add_held_out,
    add_labelled_settings,
    add_run,
    add_settings,
    add_supernet_training,
    kept_run,
    own_settings,
)
from ofa_nas.cli.training_run import follow_training
from ofa_nas.cli.window_arguments import add_windows

if TYPE_CHECKING:
    from ofa_nas.training.train import EpochReport


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_first_supernet(parser)
    parser.add_argument(
        "--data",
        required=True,
        help="data set: a name, NAME=FOLDER, or a folder with one sub-folder per class, of images or signals",
    )
    add_windows(parser)
    parser.add_argument(
        "--recipe",
        default="sandwich",
        help="sandwich, progressive, shrink, refine, signals, or your own .toml file [default: sandwich]",
    )
    add_settings(
        parser,
        epochs="the recipe's",
        batch_size="the recipe's, over all processes",
        learning_rate="the recipe's, of the first phase, in proportion to the batch size",
        crop_scale="the recipe's",
    )
    add_labelled_settings(parser, of="the recipe's, ")
    add_supernet_training(parser)
    add_held_out(parser)
    add_run(parser, "runs/train", work="training")


def run(args: argparse.Namespace) -> int:
    """Train, report, and leave a supernet in the run folder."""
    from ofa_nas.cli.torch_process import pick_device, prepare_torch
    from ofa_nas.errors import LeftAloneError

    prepare_torch(threads=args.threads)
    from ofa_nas.cli.console import err, give_document, out
    from ofa_nas.pipeline.training.learning import TrainedSupernet, TrainingPlan, train_supernet
    from ofa_nas.training.distributed import join_ranks, leave_ranks
    from ofa_nas.training.recipe import Recipe
    from ofa_nas.training.splits import SplitSizes

    device = pick_device(args.device)
    ranks = join_ranks(device)
    try:
        with ranks.in_turn():
            plan = TrainingPlan(
                space=args.space,
                data=args.data,
                start=args.start,
                recipe=Recipe.load(args.recipe, purpose="train").override(own_settings(args)),
                sizes=SplitSizes(reports=args.held_out, seed=args.seed),
                **kept_run(args),
            )
        trained = follow_training(
            train_supernet(plan, device=device, ranks=ranks),
            TrainedSupernet,
            show=lambda _, report: err.print(_epoch_line(report)),
            title="training",
            stopped=f"--resume continues in {plan.folder}",
            quiet=args.json or not ranks.is_first,
            ranks=ranks,
        )
    except LeftAloneError:
        if ranks.is_first:
            raise
        return 1  # the first process tells
    leave_ranks()
    if trained is None:  # the first process tells
        return 0
    document = {
        "supernet": str(trained.files.weights),
        "history": trained.history,
        "licence": trained.licence,
    }
    if not give_document(args, document):
        show_licence(trained.licence)
        out.print(f"supernet  {trained.files.weights}")
    return 0


def _epoch_line(report: "EpochReport") -> str:
    return (
        f"epoch {report.epoch:.2f} ({report.phase})  loss {report.loss:.3f}  accuracy: "
        f"smallest {report.smallest:.1%}, middle {report.middle:.1%}, largest {report.largest:.1%}  "
        f"({report.elapsed_s / 60:.1f} min)"
    )
