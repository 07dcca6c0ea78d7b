"""`--window` and `--hop`, beside every `--data`: how recordings of sensors are cut."""

import argparse

from ofa_nas.cli.argument_groups import Arguments


def add_windows(parser: Arguments) -> None:
    """Add the two options."""
    parser.add_argument(
        "--window",
        type=int,
        metavar="SAMPLES",
        help="signals: window length in samples, such as 3000 for 30 s at 100 Hz [default: that of "
        "the supernet's data; else 128 for hapt, and a whole row for your own files]",
    )
    parser.add_argument(
        "--hop",
        type=int,
        metavar="SAMPLES",
        help="signals: samples from one window to the next [default: half a window]",
    )


def put_windows(args: argparse.Namespace) -> None:
    """Write the two options into `args.data`, as `open_data` reads them.

    Raises:
        ConfigError: One is no length, there are no data, or the data name windows already.
    """
    if getattr(args, "window", None) is None and getattr(args, "hop", None) is None:
        return
    from ofa_nas.data.windows import with_windows
    from ofa_nas.errors import ConfigError

    if args.data is None:
        raise ConfigError("--window and --hop cut the signals of a data set: give --data")
    args.data = with_windows(args.data, args.window, args.hop)
