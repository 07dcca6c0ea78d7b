"""`ofa-nas data`: draw images that no camera saw, to learn from without labels."""

import argparse
from pathlib import Path

from ofa_nas.figures import format_bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `data`."""
    parser.add_argument(
        "generator",
        metavar="GENERATOR",
        help="dead-leaves: shapes on top of each other; noise: independent pixels; "
        "or the dotted path of a module of your own",
    )
    parser.add_argument("file", metavar="OUT", type=Path, help=".npz file to write")
    parser.add_argument(
        "--mode",
        help="dead-leaves: mixed, circle, square, oriented-square, rectangle, triangle or quadrilateral "
        "(mixed)",
    )
    parser.add_argument("--count", type=int, default=10_000, help="images (10000)")
    parser.add_argument("--size-px", type=int, default=128, help="side of the images [px] (128)")
    parser.add_argument("--workers", type=int, help="processes that draw (one a core)")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the images; each follows from it and its number (0)"
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
