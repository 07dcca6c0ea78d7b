"""`ofa-nas import`: an official once-for-all checkpoint becomes a supernet, or the other way round."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `import`."""
    parser.add_argument(
        "path",
        metavar="PATH",
        help="a once-for-all checkpoint or its acc_predictor.pth; with --export-official, a "
        "supernet (name or .safetensors file)",
    )
    target = parser.add_mutually_exclusive_group()
    target.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="supernet to write; its other files go beside it [default: runs/import/NETWORK.safetensors]",
    )
    target.add_argument(
        "--export-official",
        type=Path,
        metavar="FILE",
        help="convert in the other direction: write the supernet as a once-for-all checkpoint",
    )


def run(args: argparse.Namespace) -> None:
    """Import or export."""
    if args.export_official is None:
        _import(args)
    else:
        _export(args)


def _import(args: argparse.Namespace) -> None:
    from ofa_nas.cli.console import give_document, out, progress
    from ofa_nas.pipeline.training.importing import import_official

    with progress("importing", total=None, quiet=args.json):
        found = import_official(Path(args.path), output=args.output)
    imported, space = found.card.made_by["imported"], found.card.space
    predictor = str(found.files.predictor) if found.has_predictor else None
    document = {
        "supernet": str(found.files.weights),
        "predictor": predictor,
        "space": space.name,
        **{key: imported[key] for key in ("network", "file", "sha256")},
    }
    if give_document(args, document):
        return
    out.print(f"network   {imported['network']}, a supernet of the space {space.name}")
    out.print(f"imported  {imported['file']}, SHA-256 {imported['sha256']}")
    out.print(f"supernet  {found.files.weights}{', without weights' if found.card.published else ''}")
    if found.has_predictor:
        out.print(f"predictor {found.files.predictor}")


def _export(args: argparse.Namespace) -> None:
    from ofa_nas.cli.console import give_document, out
    from ofa_nas.files import check_writable
    from ofa_nas.supernet.checkpoint import load_supernet
    from ofa_nas.supernet.official import write_official
    from ofa_nas.supernet_card import SupernetFiles

    check_writable(args.export_official, option="--export-official")
    supernet, _ = load_supernet(SupernetFiles.find(args.path))
    write_official(args.export_official, supernet)
    if not give_document(args, {"checkpoint": str(args.export_official), "supernet": args.path}):
        out.print(f"checkpoint  {args.export_official}")
