"""Arguments of commands that take weights: a supernet, a subnet of one, or what a training starts from."""

import argparse

from ofa_nas.assets import DEFAULT_SUPERNET


def add_supernet(parser: argparse.ArgumentParser, *, note: str = "") -> None:
    """Add `--supernet`; `note` goes on from its help."""
    parser.add_argument(
        "--supernet",
        default=DEFAULT_SUPERNET,
        help=f"shipped supernet, or a .safetensors file{note} [default: {DEFAULT_SUPERNET}]",
    )


def add_split(parser: argparse.ArgumentParser) -> None:
    """Add `--split`: which images of `--data` judge."""
    parser.add_argument(
        "--split",
        choices=("val", "all"),
        default="val",
        help="which images of --data: val (those that training leaves out), or all (for a folder "
        "of test images) [default: val]",
    )


def add_source_subnet(parser: argparse.ArgumentParser) -> None:
    """Add `--from` and `--supernet`: a subnet with its weights."""
    parser.add_argument(
        "--from",
        dest="start",
        required=True,
        metavar="SUBNET",
        help="architecture (smallest, middle, largest, or a text such as 128/3x1/5x6.3x4/…) or an "
        "fp32 ONNX file exported by ofa-nas",
    )
    add_supernet(parser, note=", that an architecture is taken from")


def add_first_supernet(parser: argparse.ArgumentParser) -> None:
    """Add `--space` and `--from`: what a supernet is before its training."""
    parser.add_argument(
        "--space",
        help="search space, by name or TOML file; with --from it may differ only in its "
        "resolutions [default: that of --from, else efficientnet_lite]",
    )
    parser.add_argument(
        "--from",
        dest="start",
        help="what to start from: a supernet (efficientnet_lite, or a .safetensors file) or a "
        "pretrained network (efficientnet_lite0) [default: random weights]",
    )
