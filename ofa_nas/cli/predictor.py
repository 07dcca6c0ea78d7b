"""`ofa-nas predictor`: evaluate subnets for real, fit the accuracy predictor of a supernet, and judge it."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ofa_nas.cli.supernet_arguments import add_supernet
from ofa_nas.cli.window_arguments import add_windows

if TYPE_CHECKING:
    from ofa_nas.pipeline.predicting.collecting import Aim, Collection, Standing
    from ofa_nas.pipeline.predicting.predictor_fit import KindScore


COUNT, IMAGES = 150, 2000
OWN = {  # options that not every action has
    "collect": ("data", "window", "hop", "count", "near_front", "until", "images", "threads", "device"),
    "fit": ("kind",),
    "report": ("kind", "output"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `predictor`."""
    parser.add_argument(
        "action",
        choices=("collect", "fit", "report"),
        help="collect: evaluate subnets; fit: fit the predictor to what was collected; report: "
        "show how far it can be trusted",
    )
    add_supernet(parser)
    parser.add_argument("--data", help="collect: data set with the supernet's classes")
    add_windows(parser)
    parser.add_argument(
        "--count",
        metavar="COUNT",
        type=int,
        help=f"collect: number of subnets, including those already collected [default: {COUNT}]",
    )
    parser.add_argument(
        "--near-front",
        action="store_true",
        help="collect: evaluate subnets on the front that the fitted predictor finds, instead of random ones",
    )
    parser.add_argument(
        "--until",
        metavar="AIM",
        help="collect: stop before --count once cross-validation is this good: tau=0.95, or "
        "rmse=0.8 (points)",
    )
    parser.add_argument(
        "--images",
        metavar="COUNT",
        type=int,
        help=f"collect: images to evaluate each subnet on [default: {IMAGES}]",
    )
    parser.add_argument(
        "--kind",
        help="additive, additive_gp, mlp, macs, or the dotted path of your own; fit also takes "
        "auto, which picks the best by cross-validation [default of fit: auto; of report: the "
        "fitted one]",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="report: also write it, with plots, to this .html file"
    )
    parser.add_argument(
        "--threads",
        metavar="COUNT",
        type=int,
        help="collect: CPU threads for calibration and images [default: all cores, or the CPU quota]",
    )
    parser.add_argument(
        "--device",
        help="collect: cpu evaluates the exported file in ONNX Runtime; cuda or cuda:N evaluates "
        "in torch; auto is cuda where there is one [default: cpu]",
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed [default: 0]")


def run(args: argparse.Namespace) -> None:
    """Collect, fit or report."""
    _check_options(args)
    {"collect": _collect, "fit": _fit, "report": _report}[args.action](args)


def _check_options(args: argparse.Namespace) -> None:
    from ofa_nas.errors import ConfigError

    for option in dict.fromkeys(option for options in OWN.values() for option in options):
        actions = [action for action, options in OWN.items() if option in options]
        if args.action not in actions and getattr(args, option) not in (None, False):
            raise ConfigError(
                f"--{option.replace('_', '-')} only applies to predictor {', '.join(actions)}; "
                f"leave it out of predictor {args.action}"
            )


def _collect(args: argparse.Namespace) -> None:
    from ofa_nas.cli.console import give_document, out, progress
    from ofa_nas.errors import ConfigError
    from ofa_nas.pipeline.predicting.collecting import Aim, Standing, collect_until

    if args.data is None:
        raise ConfigError("predictor collect needs --data, a data set with the supernet's classes")
    aim = None if args.until is None else Aim.parse(args.until)
    plan = _plan(args)
    count, standing = 0, None
    records = collect_until(aim, plan.samples(), args.supernet, seed=args.seed) if aim else plan.samples()
    with progress("evaluating subnets", total=len(plan.archs), quiet=args.json) as bar:
        for record in records:
            if isinstance(record, Standing):
                assert aim
                standing = record
                bar.tell(_describe_standing(record, aim))
                continue
            count += 1
            rate = f"{bar.rate * record.images:.0f} images/s" if bar.rate else ""
            bar.advance(note=f"{record.arch.split('/')[0]} px {record.accuracy:.1%}  {rate}")
    if give_document(args, {"supernet": args.supernet, "collected": count, "standing": standing}):
        return
    out.print(f"{count} subnets evaluated")
    if aim and standing:
        out.print(_describe_standing(standing, aim))
        out.print(_describe_end(standing))


def _plan(args: argparse.Namespace) -> "Collection":
    """Load the supernet onto what classifies, and choose subnets and images."""
    from ofa_nas.cli.console import progress
    from ofa_nas.cli.torch_process import pick_device, prepare_torch

    prepare_torch(threads=args.threads)
    from ofa_nas.pipeline.evaluating.evaluation import Bench
    from ofa_nas.pipeline.predicting.collecting import Collection

    device = pick_device(args.device or "cpu")
    with progress("loading supernet and images", total=None, quiet=args.json):
        bench = Bench.open(
            args.supernet, threads=args.threads, device=None if device.type == "cpu" else device
        )
        return Collection.plan(
            bench,
            count=COUNT if args.count is None else args.count,
            data=args.data,
            images=IMAGES if args.images is None else args.images,
            seed=args.seed,
            near_front=args.near_front,
        )


def _describe_standing(standing: "Standing", aim: "Aim") -> str:
    """Where one stands, in one line."""
    best = standing.best
    if aim.quantity == "tau":
        told = f"Kendall tau {standing.value:.3f}, surely {standing.sure:.3f} or more; aim {aim.value:.3f}"
        limit = "" if best is None else f"; the true accuracies would show {best:.3f}"
    else:
        value, sure, aimed = (100 * one for one in (standing.value, standing.sure, aim.value))
        told = f"RMSE {value:.2f} points, surely {sure:.2f} or less; aim {aimed:.2f}"
        limit = "" if best is None else f"; the true accuracies would show {100 * best:.2f}"
    return f"{standing.samples} samples: {told}{limit}"


def _describe_end(standing: "Standing") -> str:
    if standing.is_reached:
        return "enough: the aim is reached"
    if standing.is_beyond_truth:
        return (
            "not enough yet, and on so few images true accuracies would not reach it either: more subnets "
            "can at most learn the luck of these; raise --images"
        )
    return "not enough yet: raise --count"


def _fit(args: argparse.Namespace) -> None:
    from ofa_nas.cli.console import give_document, make_table, out, progress
    from ofa_nas.pipeline.predicting.predictor_fit import AUTO, BASELINE, Tried, try_predictors

    with progress("trying kinds", total=None, quiet=args.json) as bar:
        for record in try_predictors(args.supernet, kind=args.kind or AUTO, seed=args.seed):
            if isinstance(record, Tried):
                bar.move_to(record.done, total=record.total, note=record.left_out.kind)
            else:
                report, path = record.report, record.path
    if give_document(args, {"predictor": str(path), "report": report}):
        return
    out.print(
        f"{report.kind} predictor of {report.samples} subnets; on left-out fifths: "
        f"Kendall tau {report.tau:.3f}, RMSE {100 * report.rmse:.2f} points; "
        f"90 % interval on any images ± {100 * report.half_width:.2f} points"
    )
    if report.true_rmse is not None:
        out.print(
            f"to what infinitely many images would show, {100 * report.true_rmse:.2f} points are missing "
            "(fitted to one half of the images, judged on the other)"
        )
    table = make_table("kind", "tau", "RMSE", "to the truth", "covered", "fit", "")
    for one in report.kinds:
        note = "" if one.beats_macs or one.kind == BASELINE else "no better than MACs alone"
        table.add_row(*_cells(one), note, style="bold" if one.kind == report.kind else "")
    out.print(table)
    out.print(f"chosen    {report.kind}: {report.reason}")
    out.print(f"predictor {path}")


def _cells(score: "KindScore") -> tuple[str, ...]:
    return (
        score.kind,
        f"{score.tau:.3f}",
        f"{100 * score.rmse:.2f}",
        "?" if score.true_rmse is None else f"{100 * score.true_rmse:.2f}",
        f"{score.coverage:.0%}",
        f"{score.fit_seconds:.2f} s",
    )


def _report(args: argparse.Namespace) -> None:
    from ofa_nas.cli.console import follow, give_document, out
    from ofa_nas.cli.predictor_report import show_report
    from ofa_nas.files import check_writable, write_bytes
    from ofa_nas.pipeline.predicting.predictor_fit import AUTO
    from ofa_nas.pipeline.predicting.predictor_page import report_page
    from ofa_nas.pipeline.predicting.predictor_report import PredictorReport, report_predictor

    if args.output:
        check_writable(args.output, option="--output", suffix=".html")
    kind = None if args.kind == AUTO else args.kind
    report = follow(
        report_predictor(args.supernet, kind=kind, seed=args.seed),
        PredictorReport,
        show=lambda bar, one: bar.advance(note=f"{one.kind}, {one.samples} subnets: tau {one.tau:.3f}"),
        title="fitting",
        quiet=args.json,
    )
    if args.output:
        write_bytes(args.output, report_page(report).encode())
    if give_document(args, {"report": report, "page": args.output}):
        return
    show_report(report)
    if args.output:
        out.print(f"page      {args.output}")
