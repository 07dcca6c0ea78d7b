"""`ofa-nas data`: draw images that no camera saw, to learn from without labels."""

import argparse
from pathlib import Path

from ofa_nas.figures import format_bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `data`."""
    parser.add_argument(
        "generator",
        metavar="GENERATOR",
        help="dead-leaves (overlapping shapes), noise (independent pixels), or the dotted path of "
        "your own module",
    )
    parser.add_argument("file", metavar="OUT", type=Path, help=".npz file to write")
    parser.add_argument(
        "--mode",
        help="shapes of dead-leaves: mixed, circle, square, oriented-square, rectangle, triangle "
        "or quadrilateral [default: mixed]",
    )
    parser.add_argument(
        "--count", metavar="COUNT", type=int, default=10_000, help="number of images [default: 10000]"
    )
    parser.add_argument(
        "--size-px", metavar="PX", type=int, default=128, help="image size in pixels [default: 128]"
    )
    parser.add_argument(
        "--workers", metavar="COUNT", type=int, help="processes that draw images [default: one per core]"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="random seed; each image follows from it and the image's number [default: 0]",
    )


def run(args: argparse.Namespace) -> None:
    """Draw and write."""
    from ofa_nas.cli.console import give_document, out, progress
    from ofa_nas.data.synthetic import SyntheticImages, write_synthetic
    from ofa_nas.devices.agent import usable_cores
    from ofa_nas.errors import ConfigError
    from ofa_nas.files import check_writable

    if args.generator.endswith(".npz"):
        told = f"expected a generator, and the file behind it: {args.file} {args.generator}"
        raise ConfigError(f"GENERATOR {args.generator}: {told}")
    images = SyntheticImages.plan(
        args.generator, mode=args.mode, count=args.count, size_px=args.size_px, seed=args.seed
    )
    check_writable(args.file, option="OUT", suffix=".npz")
    workers = args.workers or usable_cores()
    with progress("drawing", total=images.count, quiet=args.json) as bar:
        for done in write_synthetic(images, args.file, workers=workers):
            bar.move_to(done)
    size = args.file.stat().st_size
    document = {
        "file": str(args.file),
        "generator": images.generator,
        "mode": images.mode or None,
        "count": images.count,
        "size_px": images.size_px,
        "seed": images.seed,
        "bytes": size,
    }
    if not give_document(args, document):
        mode = f", {images.mode}" if images.mode else ""
        law = f"{images.generator}{mode}"
        out.print(f"images    {images.count} of {images.size_px} px ({law}), {format_bytes(size)}")
        out.print(f"file      {args.file}")
