"""Time and profile ONNX models on the machine that runs this file.

The measuring core of every device: the host imports it, a board is sent it. So it is one file that needs only
Python 3.8, numpy and onnxruntime, and imports nothing of this tool. Records are plain JSON values.
"""

# ruff: noqa: UP006, UP031, UP035, PTH118, PTH123, PTH207 - written for Python 3.8

from __future__ import annotations

import gc
import glob
import json
import os
import platform
import re
import subprocess
import tempfile
import time
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Sequence, Tuple

import numpy as np

Json = Dict[str, Any]  # one record of the wire format; `devices/__init__.py` gives each a frozen class
BOOTSTRAP_DRAWS = 400
SENTINEL_HISTORY = 3  # visits of the sentinel before it judges anything


class AgentError(Exception):
    """This machine cannot measure; the message says why and what would help."""


@dataclass(frozen=True)
class Protocol:
    """How to measure; everything that a figure may depend on.

    Attributes:
        threads: Threads of ONNX Runtime within an operator.
        clock: `wall`, or `cpu`: processor time of this process, for busy machines and one thread.
        seed: Seed of inputs and of the order of visits.
        rounds: Visits of each model at least.
        max_rounds: Visits at most; a model that is not settled by then is noisy.
        visit_runs: Timed runs of a visit at least, after one that is discarded.
        visit_ms: Time that a visit lasts at least [ms].
        interval: Width of the 95 % interval of the median at which a model is settled, over the median.
        warm_up_windows: Windows of ten runs at most until two differ by less than 2 %.
        sentinel_every: Visits between two visits of the first model, the sentinel.
        sentinel_tolerance: Deviation of the sentinel from its median that spoils the visits before it.
        retries: How often spoilt visits are repeated; in all, no more than so many rounds.
        cool_s: Pause before repeating [s].
        profile_runs: Profiled runs of a model in one sitting, after `profile_skip` that are dropped.
        profile_skip: Runs of a sitting that are dropped.
        profile_sittings: Sittings of each model; other models come in between.
    """

    threads: int = 1
    clock: str = "wall"
    seed: int = 0
    rounds: int = 10
    max_rounds: int = 12
    visit_runs: int = 5
    visit_ms: float = 50.0
    interval: float = 0.015
    warm_up_windows: int = 10
    sentinel_every: int = 10
    sentinel_tolerance: float = 0.03
    retries: int = 1
    cool_s: float = 0.5
    profile_runs: int = 50
    profile_skip: int = 10
    profile_sittings: int = 3


@dataclass(frozen=True)
class Model:
    """A named ONNX file held in memory."""

    name: str
    content: bytes


def probe() -> Json:
    """Describe this machine: what a latency may depend on.

    Raises:
        AgentError: ONNX Runtime is missing, or known not to run here.
    """
    if platform.architecture()[0] != "64bit":
        raise AgentError("a 32-bit system: there is no onnxruntime for it; install a 64-bit system")
    try:
        import onnxruntime
    except ImportError as error:
        raise AgentError(
            "onnxruntime cannot be imported (%s); pip install onnxruntime numpy" % error
        ) from error
    cpu = _cpu_name()
    if onnxruntime.__version__ == "1.21.0" and "Cortex-A72" in cpu:
        raise AgentError(
            "onnxruntime 1.21.0 crashes on a Cortex-A72 (illegal instruction); install another version"
        )
    return {
        "kind": "device",
        "host_name": platform.node(),
        "cpu": cpu,
        "cores": os.cpu_count() or 1,
        "architecture": platform.machine(),
        "system": "%s %s" % (platform.system(), platform.release()),
        "c_library": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "providers": list(onnxruntime.get_available_providers()),
        "board": _read("/proc/device-tree/model"),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "state": probe_state(),
    }


def probe_state() -> Json:
    """What may change while measuring: frequency [MHz], temperature [C], throttle bits; 0 if untold."""
    zones = [_number(path) / 1000.0 for path in glob.glob("/sys/class/thermal/thermal_zone*/temp")]
    return {
        "frequency_mhz": _number("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq") / 1000.0,
        "temperature_c": max(zones) if zones else 0.0,
        "throttled": _throttle_bits(),
    }


def time_models(models: Sequence[Model], protocol: Protocol) -> Iterator[Json]:
    """Time models unprofiled in interleaved rounds of random order; the first model is the sentinel.

    Yields:
        One record a visit; `spoilt` says that the machine was not itself and retries were used up.
    """
    rng = np.random.default_rng(protocol.seed)
    runners = [Runner(model, protocol) for model in models]
    for runner in runners:
        runner.warm_up(protocol)
    medians = [[] for _ in models]  # type: List[List[float]]
    watch = _Watch(runners[0], protocol, len(models))
    unsettled = list(range(len(models)))
    for turn in range(protocol.max_rounds):
        order = [int(index) for index in rng.permutation(unsettled)]
        for start in range(0, len(order), protocol.sentinel_every):
            batch = order[start : start + protocol.sentinel_every]
            visits, state = watch.visit_calmly([runners[index] for index in batch])
            for place, index in enumerate(batch):
                medians[index].append(float(np.median(visits[place][protocol.clock + "_ms"])))
                yield {"kind": "visit", "model": models[index].name, "round": turn, **state, **visits[place]}
        if turn + 1 >= protocol.rounds:
            unsettled = [index for index in unsettled if interval_width(medians[index]) > protocol.interval]
        if not unsettled:
            return


def profile_models(models: Sequence[Model], protocol: Protocol) -> Iterator[Json]:
    """Profile models, each in sittings of its own with the other models in between.

    Yields:
        One record a sitting: nodes in execution order with the 30th percentile of their durations [ms].
    """
    for sitting in range(protocol.profile_sittings):
        for model in models:
            yield {"kind": "profile", "model": model.name, "sitting": sitting, **_profile(model, protocol)}


def interval_width(values: Sequence[float]) -> float:
    """Width of the 95 % bootstrap interval of the median of `(n,)` values, over their median."""
    low, high = bootstrap_interval(values)
    return (high - low) / float(np.median(values))


def bootstrap_interval(values: Sequence[float]) -> Tuple[float, float]:
    """95 % bootstrap interval of the median of `(n,)` values; the same for the same values."""
    array = np.asarray(values, dtype=np.float64)
    draws = np.random.default_rng(0).integers(len(array), size=(BOOTSTRAP_DRAWS, len(array)))
    low, high = np.percentile(np.median(array[draws], axis=1), [2.5, 97.5])
    return float(low), float(high)


class Runner:
    """A session with its input and output in place, so that a run allocates nothing here."""

    def __init__(self, model: Model, protocol: Protocol, profile_prefix: str = "") -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = protocol.threads
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = True
        options.enable_mem_pattern = True
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if profile_prefix:
            options.enable_profiling = True
            options.profile_file_prefix = profile_prefix
        try:
            self.session = ort.InferenceSession(model.content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own classes differ from version to version
            raise AgentError("onnxruntime refuses model %s: %s" % (model.name, error)) from error
        rng = np.random.default_rng(protocol.seed)  # normal inputs: denormals would slow a run down
        self.binding = self.session.io_binding()
        self.buffers = []
        for value in self.session.get_inputs():
            self.buffers.append(rng.standard_normal(value.shape).astype(np.float32))
            self.binding.bind_ortvalue_input(value.name, ort.OrtValue.ortvalue_from_numpy(self.buffers[-1]))
        for value in self.session.get_outputs():
            self.buffers.append(np.zeros(value.shape, dtype=np.float32))
            self.binding.bind_ortvalue_output(value.name, ort.OrtValue.ortvalue_from_numpy(self.buffers[-1]))

    def run(self) -> Tuple[float, float]:
        """Run once; wall and processor time [ms]."""
        wall, cpu = time.perf_counter_ns(), time.process_time_ns()
        self.session.run_with_iobinding(self.binding)
        cpu_after, wall_after = time.process_time_ns(), time.perf_counter_ns()
        return (wall_after - wall) / 1e6, (cpu_after - cpu) / 1e6

    def warm_up(self, protocol: Protocol) -> None:
        """Run until the medians of two windows of ten runs differ by less than 2 %, or none is left."""
        before = 0.0
        for _ in range(protocol.warm_up_windows):
            median = float(np.median([self.run()[0] for _ in range(10)]))
            if abs(median - before) < 0.02 * median:
                return
            before = median

    def visit(self, protocol: Protocol) -> Json:
        """Time a visit: one discarded run, then runs until both lower bounds are met."""
        gc.collect(0)
        self.run()
        wall_ms = []  # type: List[float]
        cpu_ms = []  # type: List[float]
        total = 0.0
        while len(wall_ms) < protocol.visit_runs or total < protocol.visit_ms:
            wall, cpu = self.run()
            total += wall
            wall_ms.append(round(wall, 4))
            cpu_ms.append(round(cpu, 4))
        return {"wall_ms": wall_ms, "cpu_ms": cpu_ms}


class _Watch:
    """Repeats visits that were spoilt, as the sentinel, the frequency and the throttle bits tell.

    No more are repeated than a few rounds hold: on a machine that never rests, it does not help.
    """

    def __init__(self, sentinel: Runner, protocol: Protocol, models: int) -> None:
        self.sentinel = sentinel
        self.protocol = protocol
        self.retries_left = -(-models // protocol.sentinel_every) * protocol.retries
        self.history = []  # type: List[float]
        self.top_frequency = 0.0

    def visit_calmly(self, runners: Sequence[Runner]) -> Tuple[List[Json], Json]:
        for attempt in range(1 + self.protocol.retries):
            visits = [runner.visit(self.protocol) for runner in runners]
            state = self._judge()
            if not state["spoilt"] or self.retries_left == 0 or attempt == self.protocol.retries:
                break
            self.retries_left -= 1
            time.sleep(self.protocol.cool_s)
        return visits, state

    def _judge(self) -> Json:
        figures = self.sentinel.visit(self.protocol)[self.protocol.clock + "_ms"]
        self.history.append(float(np.median(figures)))
        usual = float(np.median(self.history))
        strays = abs(self.history[-1] - usual) > self.protocol.sentinel_tolerance * usual
        state = probe_state()
        self.top_frequency = max(self.top_frequency, state["frequency_mhz"])
        throttled = state["frequency_mhz"] < 0.97 * self.top_frequency
        throttled |= bool(int(state["throttled"] or "0", 16) & 0xF)  # the low bits tell of this moment
        return {
            "spoilt": throttled or (strays and len(self.history) > SENTINEL_HISTORY),
            "throttled": throttled,
        }


def _profile(model: Model, protocol: Protocol) -> Json:
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(model, protocol, profile_prefix=os.path.join(folder, "profile"))
        for _ in range(protocol.profile_skip + protocol.profile_runs):
            runner.run()
        with open(runner.session.end_profiling(), encoding="utf-8") as file:
            events = json.load(file)
    return read_profile(events, skip=protocol.profile_skip)


def read_profile(events: Sequence[Json], skip: int) -> Json:
    """Node times of a profile of ONNX Runtime.

    The 30th percentile serves: durations are whole microseconds and their mean is spoilt by interruptions.

    Args:
        events: As `end_profiling` wrote them.
        skip: Runs at the start to drop.

    Returns:
        `nodes`: name, operator, `ms`, in execution order; `peak_bytes`: most bytes of activations requested
        at once in the first run, before memory is planned as one block; 0 before version 1.28.
    """
    durations = {}  # type: Dict[str, List[float]]
    operators = {}  # type: Dict[str, str]
    requested = []  # type: List[int]
    for event in events:
        if event.get("cat") != "Node" or not event["name"].endswith("_kernel_time"):
            continue
        name = event["name"][: -len("_kernel_time")]
        durations.setdefault(name, []).append(event["dur"] / 1000.0)
        operators[name] = event["args"].get("op_name", "")
        if len(durations[name]) == 1:
            in_use = int(event["args"].get("mem_bytes_requested_in_use", 0))
            if not requested:  # what was there before the first node: weights
                requested.append(in_use - int(event["args"].get("mem_requested_in_use_delta", 0)))
            requested.append(in_use)
    nodes = [
        {"name": name, "operator": operators[name], "ms": round(float(np.percentile(times[skip:], 30)), 6)}
        for name, times in durations.items()
    ]
    return {"nodes": nodes, "peak_bytes": max(requested) - requested[0] if requested else 0}


def _cpu_name() -> str:
    text = _read("/proc/cpuinfo")
    match = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    part = re.search(r"^CPU part\s*:\s*(\w+)", text, re.MULTILINE)
    parts = {"0xd03": "Cortex-A53", "0xd08": "Cortex-A72", "0xd0b": "Cortex-A76", "0xd07": "Cortex-A57"}
    core = parts.get(part.group(1), "") if part else ""
    name = match.group(1).strip() if match else platform.processor()
    return " ".join(word for word in (name, core) if word) or "unknown processor"


def _throttle_bits() -> str:
    try:
        done = subprocess.run(["vcgencmd", "get_throttled"], stdout=subprocess.PIPE, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = re.search(rb"throttled=(0x[0-9a-fA-F]+)", done.stdout)
    return match.group(1).decode() if match else ""


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip().strip("\0")
    except OSError:
        return ""


def _number(path: str) -> float:
    text = _read(path)
    return float(text) if text.lstrip("-").isdigit() else 0.0
