"""What a process gains by training, as the system counts it; Linux only.

As a program it reads what to train from its standard input and prints those numbers of bytes. It is a process
of its own, since what this one has freed before would hide the growth.
"""

import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from ofa_nas.errors import OfaNasError
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.transfer.methods import Method
from ofa_nas.transfer.optimizer import FreeingAdam
from ofa_nas.transfer.random_network import forward_of, random_network

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_WARM_UP_STEPS = 2  # in which oneDNN writes its code, and Adam its state
# Blocks from 64 KiB on are mapped one by one and given back at once: the figure is that of the tensors.
_ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_ARENA_MAX": "1"}


@dataclass(frozen=True, slots=True)
class Growth:
    """Resident memory of a process that trains [bytes].

    Attributes:
        step: Most during a step, less what there is between two: activations, gradients, scratch.
        state: The optimiser's, between two steps.
    """

    step: int
    state: int


def training_growth(space: SearchSpace, method: Method, *, batch_size: int, is_lean: bool) -> Growth | None:
    """Train random weights on random images for a few steps in a process of its own, one thread.

    Args:
        space: Of one architecture, as `transfer_space` gives it.
        method: What is trained.
        batch_size: Images a step.
        is_lean: With our functions, gradients freed as soon as they are used; else as PyTorch comes.

    Returns:
        None where the system does not tell (it has no `/proc/self/status`).

    Raises:
        OfaNasError: The process failed, such as for want of memory.
    """
    if not _STATUS.is_file():
        return None
    task = {
        "space": space.to_document(),
        "method": method.name,
        "batch_size": batch_size,
        "is_lean": is_lean,
    }
    root = str(Path(__file__).parents[2])  # a checkout may be importable here and nowhere else
    paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps(task).encode(),
        capture_output=True,
        check=False,
        env={**os.environ, **_ALLOCATOR, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
    )
    try:
        return Growth(**json.loads(done.stdout))
    except (ValueError, TypeError) as error:
        told = done.stderr.decode(errors="replace").strip().splitlines() or [
            f"it ended with {done.returncode}"
        ]
        raise OfaNasError(
            f"{method.name} cannot be trained at batch {batch_size} in a process of its own: {told[-1][:300]}"
        ) from error


def _read_status(key: str) -> int:
    found = re.search(rf"^{key}:\s+(\d+) kB$", _STATUS.read_text(encoding="ascii"), re.MULTILINE)
    assert found, f"no {key} in {_STATUS}"
    return 1024 * int(found[1])


def _measure(task: dict[str, Any]) -> Growth:
    space = SearchSpace.from_document(task["space"], Path("task"))
    method, is_lean = Method.named(task["method"]), bool(task["is_lean"])
    network = random_network(space, method, is_lean=is_lean)
    forward, labels = forward_of(network, space, batch_size=task["batch_size"], is_lean=is_lean)
    trained = [value for value in network.parameters() if value.requires_grad]
    optimizer = FreeingAdam(trained, is_freeing=is_lean)
    growth = 0
    for _ in range(_WARM_UP_STEPS + 1):
        with suppress(OSError):
            _RESET.write_text("5", encoding="ascii")  # the peak so far
        before = _read_status("VmRSS")
        F.cross_entropy(forward(), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        growth = max(0, _read_status("VmHWM") - before)
    return Growth(growth, optimizer.state_bytes())


def main() -> None:
    """Measure the task on the standard input."""
    torch.set_num_threads(1)
    print(json.dumps(asdict(_measure(json.load(sys.stdin)))))  # noqa: T201 - a program


if __name__ == "__main__":
    main()
