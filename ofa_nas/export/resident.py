"""What a process gains by loading and running a model, as the system counts it; Linux only.

As a program it reads a model from its standard input and prints that number of bytes. It is a process of its
own, since what this one has freed before would hide the growth.
"""

import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnxruntime

from ofa_nas.errors import VerificationError

RUNS = 3
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident_growth(model: bytes) -> int | None:
    """Most resident memory while a model is loaded and run, less that of the same process before [bytes].

    Before, Python, numpy and ONNX Runtime are imported and the model's file is in memory. So the figure holds
    weights, activations, whatever ONNX Runtime copies while it optimises the graph, and pages of its library
    that are used for the first time; it does not hold ONNX Runtime itself. One thread, batch 1.

    Returns:
        None where the system does not tell (it has no `/proc/self/status`).

    Raises:
        VerificationError: The model cannot be run.
    """
    if not _STATUS.is_file():
        return None
    line = [sys.executable, "-m", __name__]
    root = str(Path(__file__).parents[2])  # a checkout may be importable here and nowhere else
    paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(line, input=model, capture_output=True, check=False, env=environment)
    text = done.stdout.decode(errors="replace").strip()
    if done.returncode or not text.isdigit():
        told = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise VerificationError(f"the model cannot be run in a process of its own: {told[-1][:300]}")
    return int(text)


def _read_status(key: str) -> int:
    found = re.search(rf"^{key}:\s+(\d+) kB$", _STATUS.read_text(encoding="ascii"), re.MULTILINE)
    assert found, f"no {key} in {_STATUS}"
    return 1024 * int(found[1])


def main() -> None:
    """Measure the model on the standard input."""
    content = sys.stdin.buffer.read()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    with suppress(OSError):
        _RESET.write_text(
            "5", encoding="ascii"
        )  # the peak so far, which importing may have left above the rest
    before = _read_status("VmRSS")
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    inputs = {
        value.name: rng.standard_normal(value.shape).astype(np.float32) for value in session.get_inputs()
    }
    for _ in range(RUNS):
        session.run(None, inputs)
    print(max(0, _read_status("VmHWM") - before))  # noqa: T201 - a program


if __name__ == "__main__":
    main()
