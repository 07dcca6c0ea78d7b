"""How fast is the training step beside plain modules and once-for-all's own, and what memory does it take?

One step is the forward and backward passes of the largest, the smallest and two random subnets, gradient
clipping, and the optimiser. Contenders run the same architectures on the same batch with the same losses and
optimiser:

* ours: the step of `ofa-nas train`, without drawing the batch (its CPU time is printed below the table);
* static: four networks of `torch.nn` modules, each with parameters of its own;
* once-for-all: the elastic modules of a checkout of mit-han-lab/once-for-all named by `--peer`, with
  one `set_active_subnet` before each forward pass and without its teacher's pass. It trains in torch's
  default memory format; a second line gives it channels last, as the others have.

Times are taken in turns in one process, memory in a fresh process for each contender. Prints a table and one
JSON line.

    python -m benchmarks.bench_training --batch 64 --resolution 128 --peer once-for-all
"""

import argparse
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.training_contenders import PACKED_PX, PEER_WIDTHS, Setting, Step, Workshop
from ofa_nas.cli.torch_process import calm_threads, prepare_torch
from ofa_nas.provenance import record_provenance

WARM_UP = 2  # steps of each contender before any is timed
GOALS = {"static": 1 / 1.1, "once-for-all": 1.3}  # least times as fast


@dataclass(frozen=True, slots=True)
class Timing:
    """What the turns told.

    Attributes:
        seconds: `(rounds, contenders)` of a step.
        busy: Share of the time in which a CUDA device worked, one a contender; nan on a CPU.
        cpu_seconds: `(rounds, 2)` of the process: in our step, and in drawing its batch.
    """

    seconds: npt.NDArray[np.float64]
    busy: tuple[float, ...]
    cpu_seconds: npt.NDArray[np.float64]


def draw_architectures(setting: Setting) -> tuple[str, ...]:
    """The architectures of our step."""
    prepare_torch(threads=setting.threads)
    return Workshop(setting).architectures()


def measure_times(setting: Setting, architectures: Sequence[str]) -> Timing:
    """Time the contenders' steps in turns, each round beginning with another one."""
    prepare_torch(threads=setting.threads)
    workshop = Workshop(setting)
    steps = [workshop.make(name, architectures) for name in setting.contenders]
    for step in steps * WARM_UP:
        step()
    costs: tuple[Step, Step] = (steps[0], partial(workshop.data.draw_anew, setting.resolution))
    seconds, cpu_seconds = np.empty((setting.rounds, len(steps))), np.empty((setting.rounds, 2))
    for turn in range(setting.rounds):
        for offset in range(len(steps)):
            index = (turn + offset) % len(steps)
            seconds[turn, index] = seconds_of(steps[index], setting.device)
        for index, timed in enumerate(costs):
            cpu_seconds[turn, index] = seconds_of(timed, setting.device, clock=time.process_time)
    busy = tuple(busy_share(step, setting.device) for step in steps)
    return Timing(seconds, busy, cpu_seconds)


def seconds_of(step: Step, device: str, *, clock: Callable[[], float] = time.perf_counter) -> float:
    """Time of one step, until the device has done it."""
    is_cuda = device != "cpu"
    if is_cuda:
        torch.cuda.synchronize()
    began = clock()
    step()
    if is_cuda:
        torch.cuda.synchronize()
    return clock() - began


def busy_share(step: Step, device: str) -> float:
    """Share of three steps' time in which a CUDA device runs a kernel."""
    if device == "cpu":
        return float("nan")
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        seconds = sum(seconds_of(step, device) for _ in range(3))
    events = [event for event in profiler.events() or () if event.device_type.name == "CUDA"]
    return float(sum(event.time_range.elapsed_us() for event in events)) / 1e6 / seconds


def measure_memory(setting: Setting, contender: str, architectures: Sequence[str]) -> int:
    """Peak bytes of a process that does two steps: allocated on a CUDA device, resident on a CPU."""
    prepare_torch(threads=setting.threads)
    step = Workshop(setting).make(contender, architectures)
    for _ in range(WARM_UP):
        step()
    if setting.device != "cpu":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.exists():  # getrusage's maximum may be that of the process that started this one
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def in_fresh_process(function: Callable[..., Any], *arguments: object) -> Any:
    """Call a function in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def report(setting: Setting, timing: Timing, memory: Sequence[int]) -> list[dict[str, Any]]:
    """Print the table; rows for JSON."""
    print(
        f"{setting.space}, batch {setting.batch}, {setting.resolution} px, {setting.device}, "
        f"{setting.threads} threads, {setting.rounds} rounds\n"
        f"{'':<28}{'images/s':>9}{'ours is … times as fast':>36}{'peak memory':>14}{'busy':>7}"
    )
    rows = []
    for index, name in enumerate(setting.contenders):
        speeds = setting.batch / timing.seconds[:, index]
        ratios = timing.seconds[:, index] / timing.seconds[:, 0]
        low, median, high = (round(float(value), 3) for value in np.percentile(ratios, (0, 50, 100)))
        goal = f", goal {GOALS[name]:.2f}" if name in GOALS else ""
        told = "" if index == 0 else f"{median:.2f} ({low:.2f} to {high:.2f}){goal}"
        busy = None if np.isnan(timing.busy[index]) else round(timing.busy[index], 3)
        print(
            f"{name:<28}{np.median(speeds):>9.1f}{told:>36}{memory[index] / 2**20:>10.0f} MiB"
            f"{'' if busy is None else f'{busy:.0%}':>7}"
        )
        rows.append(
            {
                "contender": name,
                "images_per_s": round(float(np.median(speeds)), 2),
                "images_per_s_range": [round(float(speeds.min()), 2), round(float(speeds.max()), 2)],
                "ours_is_times_as_fast": {"median": median, "least": low, "most": high},
                "peak_bytes": memory[index],
                "busy": busy,
            }
        )
    step_s, draw_s = np.median(timing.cpu_seconds, axis=0)
    print(
        f"drawing a batch, {PACKED_PX} to {setting.resolution} px: {1e3 * draw_s:.1f} ms of CPU, "
        f"{draw_s / step_s:.1%} of our step's {1e3 * step_s:.0f} ms"
    )
    return rows


def parse_options() -> Setting:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--space", default="mobilenet_v3")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument(
        "--device", default="cpu", choices=("cpu", "cuda"), help="cpu or the first CUDA device"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", default="", help="checkout of mit-han-lab/once-for-all")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seed", type=int, default=0, help="of weights, images and random subnets")
    options = parser.parse_args()
    if options.peer and options.space not in PEER_WIDTHS:
        parser.error(f"--peer: once-for-all has no {options.space}; it has {', '.join(PEER_WIDTHS)}")
    return Setting(**vars(options))


def main() -> None:
    """Measure memory, then time, and print."""
    setting = parse_options()
    calm_threads()
    architectures = in_fresh_process(draw_architectures, setting)
    memory = [in_fresh_process(measure_memory, setting, name, architectures) for name in setting.contenders]
    timing = in_fresh_process(measure_times, setting, architectures)
    rows = report(setting, timing, memory)
    provenance = record_provenance(seed=setting.seed)
    document = {"benchmark": "training", "commit": provenance.commit, "machine": provenance.machine}
    described = {key: value for key, value in asdict(setting).items() if key != "peer"}
    results = {"torch": provenance.libraries["torch"], "architectures": architectures, "contenders": rows}
    results |= {
        "cpu_s": dict(zip(("step", "batch"), np.median(timing.cpu_seconds, axis=0).round(5), strict=True))
    }
    print(json.dumps(document | described | results))


if __name__ == "__main__":
    main()
