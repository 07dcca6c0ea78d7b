"""`ofa-nas pretrain`: train a supernet without labels, as a start for `ofa-nas train`."""

import argparse
from typing import TYPE_CHECKING

from ofa_nas.cli.delivery import show_licence
from ofa_nas.cli.supernet_arguments import add_first_supernet
from ofa_nas.cli.training_arguments import (
    add_flip,
    add_run,
    add_settings,
    add_supernet_training,
    kept_run,
    own_settings,
)
from ofa_nas.cli.training_run import follow_training

if TYPE_CHECKING:
    from ofa_nas.training.state import EpochEnd


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `pretrain`."""
    add_first_supernet(parser)
    parser.add_argument(
        "--data",
        required=True,
        help="images: an .npz file from ofa-nas data, a folder of images, or a data set as for "
        "train (its labels are ignored)",
    )
    parser.add_argument(
        "--loss",
        default="align-uniform",
        help="align-uniform, or the dotted path of your own module [default: align-uniform]",
    )
    parser.add_argument(
        "--recipe",
        default="largest",
        help="largest (the largest subnet alone), sandwich (smaller subnets follow it), or your "
        "own .toml file [default: largest]",
    )
    add_settings(
        parser,
        epochs="the recipe's, 200",
        batch_size="the recipe's, 256, with two views each",
        learning_rate="the recipe's, of the first phase, in proportion to the batch size",
        crop_scale="the recipe's, 0.08",
    )
    add_flip(parser, of="the recipe's, ")
    add_supernet_training(parser)
    add_run(parser, "runs/pretrain", work="training")


def run(args: argparse.Namespace) -> None:
    """Pretrain, report, and leave a supernet in the run folder."""
    from ofa_nas.cli.torch_process import check_alone, pick_device, prepare_torch

    check_alone("pretrain")  # the loss looks at all pairs of a batch
    prepare_torch(threads=args.threads)
    from ofa_nas.cli.console import err, give_document, out
    from ofa_nas.pipeline.training.pretraining import PretrainedSupernet, PretrainingPlan, pretrain_supernet
    from ofa_nas.training.recipe import Recipe

    plan = PretrainingPlan(
        space=args.space,
        data=args.data,
        start=args.start,
        loss=args.loss,
        recipe=Recipe.load(args.recipe, purpose="pretrain").override(own_settings(args)),
        **kept_run(args),
    )
    done = follow_training(
        pretrain_supernet(plan, device=pick_device(args.device)),
        PretrainedSupernet,
        show=lambda _, report: err.print(_epoch_line(report)),
        title="pretraining",
        stopped=f"--resume continues in {plan.folder}",
        quiet=args.json,
    )
    assert done is not None
    document = {"supernet": str(done.files.weights), "history": done.history, "licence": done.licence}
    if not give_document(args, document):
        show_licence(done.licence)
        out.print(f"supernet  {done.files.weights}")
        out.print("its classifier is random: ofa-nas train --from makes one for your classes")


def _epoch_line(report: "EpochEnd") -> str:
    terms = ", ".join(f"{name} {value:.3f}" for name, value in report.terms.items())
    return (
        f"epoch {report.epoch:.2f} ({report.phase})  loss {report.loss:.3f}: {terms}  "
        f"({report.elapsed_s / 60:.1f} min)"
    )
