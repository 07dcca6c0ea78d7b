"""Launcher for a checkout that is not installed: `python cli.py search …`."""

import sys

from ofa_nas.cli import main

if __name__ == "__main__":
    sys.exit(main())
