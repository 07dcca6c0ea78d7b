"""A step of `ofa-nas run` in a process of its own, which ends when the run does, however that ends.

Started as `python -m ofa_nas.cli.step_process DESCRIPTOR COMMAND …`; the run holds the other end of a pipe.
"""

import os
import signal
import sys
import threading

from ofa_nas.cli import main


def _follow(descriptor: int) -> None:
    """Wait until nobody holds the pipe any more; a training then still leaves its checkpoint."""
    os.read(descriptor, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    descriptor, arguments = int(sys.argv[1]), sys.argv[2:]
    sys.argv = ["ofa-nas", *arguments]  # what files say of their making
    threading.Thread(target=_follow, args=(descriptor,), daemon=True).start()
    sys.exit(main(arguments))
