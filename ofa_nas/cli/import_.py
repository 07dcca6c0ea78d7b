"""`ofa-nas import`: an official once-for-all checkpoint becomes a supernet, or the other way round."""

import argparse
from pathlib import Path

_FOLDER = Path("runs/import")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `import`."""
    parser.add_argument(
        "path",
        metavar="PATH",
        help="checkpoint of once-for-all; with --export-official a supernet, by name or .safetensors file",
    )
    target = parser.add_mutually_exclusive_group()
    target.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="supernet to write (runs/import/NETWORK.safetensors)",
    )
    target.add_argument(
        "--export-official",
        type=Path,
        metavar="FILE",
        help="the other way round: write the supernet as a checkpoint for once-for-all",
    )


def run(args: argparse.Namespace) -> None:
    """Import or export."""
    if args.export_official is None:
        _import(args)
    else:
        _export(args)


def _import(args: argparse.Namespace) -> None:
    from ofa_nas.cli.console import out, print_json
    from ofa_nas.errors import ConfigError
    from ofa_nas.files import check_writable
    from ofa_nas.supernet.checkpoint import save_supernet
    from ofa_nas.supernet.official import read_official
    from ofa_nas.supernet_card import SupernetFiles

    if args.output is not None and (args.output.suffix != ".safetensors" or args.output.is_dir()):
        raise ConfigError(f"--output {args.output}: expected the name of a .safetensors file")
    if args.output is not None:
        check_writable(args.output, option="--output")
    supernet, card = read_official(Path(args.path))
    imported = card.made_by["imported"]
    files = SupernetFiles(args.output or _FOLDER / f"{imported['network']}.safetensors")
    save_supernet(files, supernet, card)
    if args.json:
        print_json({"supernet": str(files.weights), "space": card.space.name, **imported})
        return
    out.print(f"network   {imported['network']}, a supernet of the space {card.space.name}")
    out.print(f"imported  {imported['file']}, SHA-256 {imported['sha256']}")
    out.print(f"supernet  {files.weights}")


def _export(args: argparse.Namespace) -> None:
    from ofa_nas.cli.console import out, print_json
    from ofa_nas.files import check_writable
    from ofa_nas.supernet.checkpoint import load_supernet
    from ofa_nas.supernet.official import write_official
    from ofa_nas.supernet_card import SupernetFiles

    check_writable(args.export_official, option="--export-official")
    supernet, _ = load_supernet(SupernetFiles.find(args.path))
    write_official(args.export_official, supernet)
    if args.json:
        print_json({"checkpoint": str(args.export_official), "supernet": args.path})
    else:
        out.print(f"checkpoint  {args.export_official}")
