"""`python -m ofa_nas` is `ofa-nas`."""

import sys

from ofa_nas.cli import main

if __name__ == "__main__":
    sys.exit(main())
