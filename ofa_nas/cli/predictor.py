"""`ofa-nas predictor`: evaluate subnets for real, and fit the accuracy predictor of a supernet to them."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `predictor`."""
    parser.add_argument(
        "action", choices=("collect", "fit"), help="collect: evaluate subnets; fit: fit to what was collected"
    )
    parser.add_argument(
        "--supernet",
        default="efficientnet_lite",
        help="a shipped supernet or a .safetensors file (efficientnet_lite)",
    )
    parser.add_argument("--data", help="collect: data set with the supernet's classes")
    parser.add_argument("--count", type=int, default=150, help="collect: subnets in all (150)")
    parser.add_argument(
        "--near-front", action="store_true", help="collect: subnets of the front that the predictor finds"
    )
    parser.add_argument("--images", type=int, default=2000, help="collect: images for each (2000)")
    parser.add_argument("--kind", default="additive", help="fit: plug-in (additive)")
    parser.add_argument("--threads", type=int, help="CPU threads of torch (all cores)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (0)")


def run(args: argparse.Namespace) -> None:
    """Collect or fit."""
    if args.action == "collect":
        _collect(args)
    else:
        _fit(args)


def _collect(args: argparse.Namespace) -> None:
    from ofa_nas.cli.console import out, print_json, progress
    from ofa_nas.cli.torch_process import prepare_torch
    from ofa_nas.errors import ConfigError
    from ofa_nas.pipeline.evaluation import collect_samples

    if args.data is None:
        raise ConfigError("predictor collect needs --data, a data set with the supernet's classes")
    prepare_torch(threads=args.threads)
    count = 0
    with progress("evaluating subnets", total=args.count, quiet=args.json) as bar:
        for sample in collect_samples(
            args.supernet,
            count=args.count,
            data=args.data,
            images=args.images,
            seed=args.seed,
            near_front=args.near_front,
        ):
            count += 1
            bar.advance(note=f"{sample.arch.split('/')[0]} px {sample.accuracy:.1%}")
    if args.json:
        print_json({"supernet": args.supernet, "collected": count})
    else:
        out.print(f"{count} subnets evaluated")


def _fit(args: argparse.Namespace) -> None:
    from ofa_nas.cli.console import out, print_json
    from ofa_nas.pipeline.evaluation import fit_predictor

    report, path = fit_predictor(args.supernet, kind=args.kind, seed=args.seed)
    if args.json:
        print_json({"predictor": str(path), "report": report})
        return
    out.print(
        f"{report.kind} predictor of {report.samples} subnets; on left-out fifths: "
        f"Kendall tau {report.tau:.3f}, RMSE {100 * report.rmse:.2f} points; "
        f"90 % interval ± {100 * report.half_width:.2f} points"
    )
    out.print(f"predictor {path}")
