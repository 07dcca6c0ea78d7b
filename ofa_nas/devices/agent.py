"""Time and profile ONNX models on the machine that runs this file.

The measuring core of every device: the host imports it, a board is sent it. So it is one file that needs only
Python 3.8, numpy and onnxruntime, and imports nothing of this tool. Records are plain JSON values.
As a program it measures the job in its folder into `results.jsonl`; what stands there is not measured again.
"""

# ruff: noqa: B905, RUF007, UP006, UP031, UP035, UP036, PTH100, PTH115, PTH118, PTH119, PTH120, PTH123, PTH207, T201 - for Python 3.8; a program

import sys

if sys.version_info < (3, 8):
    sys.exit("refused: Python 3.8 or later is needed, this is %d.%d" % sys.version_info[:2])

import argparse
import gc
import glob
import gzip
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import stat
import struct
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Sequence, Set, Tuple
from typing import Protocol as Interface

try:
    import numpy as np
except ImportError:
    np = None  # type: ignore[assignment]  # `probe` says what to install

Json = Dict[str, Any]  # one record of the wire format; `devices/__init__.py` gives each a frozen class
BOOTSTRAP_DRAWS = 400
SENTINEL_HISTORY = 3, 20  # visits of the sentinel before it judges anything; the latest ones, which judge
# An entry of every session: x86 processors without VNNI add two products of uint8 and int8 in 16 bits, which
# saturate, unless ONNX Runtime takes uint8 weights. Other processors and fp32 networks do as without it.
EXACT_PRODUCTS = ("session.x64quantprecision", "1")
# Of sessions on an NPU: where that refuses a network, OpenVINO else compiles for the CPU, and only logs it.
NOTHING_ON_CPU = ("session.disable_cpu_ep_fallback", "1")
LARGEST_RESULTS = 1 << 28  # bytes
MACHINE_LOCK = "ofa-nas-measuring.lock"  # in $TMPDIR or /tmp: whoever measures on this machine locks it
MACHINE_POLL_S = 1.0  # between two attempts
PART = ".part"  # how names of uploads end that are under way
PART_S = 6 * 3600.0  # an upload that nobody has written to for so long is swept away
JOB_S = 14 * 24 * 3600.0  # a job, likewise
JOB_NAME = re.compile("[0-9a-f]{20}")
RESULTS = "results.jsonl"
CORE_FOLDER = "/sys/devices/system/cpu/cpu%d/"
CPU_INFO, BOARD_MODEL = "/proc/cpuinfo", "/proc/device-tree/model"
OWN_CGROUPS, CGROUPS = "/proc/self/cgroup", "/sys/fs/cgroup"
CORES_WATCHED_S = 0.2  # to see which are idle
TICK_S = 0.01
LEAST_HELD = 6  # sessions at once, where memory is short: neighbouring visits tell the machine's speed
RESIDENT_RUNS = 3  # while resident memory is watched
LOGIT_INPUTS = 8  # made-up inputs of a model whose logits are told
BLOTCHES = (
    1,
    3,
    12,
    1 << 16,
)  # along a side of such an input, one kind on top of another; the last are its pixels
REFUSED = 3  # exit status where this machine cannot measure
THERMAL_ZONES = "/sys/class/thermal/thermal_zone*/"
NOT_ITS_HEAT = re.compile("pmic|wifi|wlan|acpitz|bat|charg|nvme|pch", re.IGNORECASE)  # types of other zones
HOT_C, HOT_X86_C = 80.0, 95.0  # where none is told: a Raspberry Pi slows down from 80 C, x86 from 95 C
NEARLY_HOT_C = 10.0  # so far below, it is warned of
FIXED = "board", "cpu", "cores", "architecture", "system", "governor", "python", "onnxruntime"  # for one job
SET_GOVERNOR = "echo %s | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
_PLACE = {"task": int, "model": str}
_TIMES = {"wall_ms": list, "cpu_ms": list}
_OWN = {  # what of its own records this program reads when it goes on, by their kind
    "device": {"job": str, **dict.fromkeys(FIXED, (str, int))},
    "visit": {"round": int, **_PLACE, **_TIMES},
    "profile": {"sitting": int, **_PLACE},
    "logits": {"sitting": int, **_PLACE},
    "done": {"task": int},
}  # type: Dict[str, Dict[str, Any]]
OLDEST_RUNTIME = 1, 12  # models are of opset 17; also the first to know `EXACT_PRODUCTS`
# An execution provider and its options: `cuda`, `openvino,device_type=GPU`. No path: it may come from a file.
# Not the CPU's, which is what there is without one.
PROVIDER = re.compile(
    r"(?!(?i:cpu)(?![A-Za-z0-9]))[A-Za-z0-9]+(?:,[A-Za-z0-9_]+=[A-Za-z0-9_.:-]+)*", re.ASCII
)
CPU_PROVIDER, PROVIDER_ENDING = "CPUExecutionProvider", "executionprovider"  # the ending in small letters
# Providers with threads of their own, and the option that counts them.
THREAD_OPTIONS = {"openvino": "num_of_threads", "xnnpack": "intra_op_num_threads"}
RUNTIMES = {"3.8": "==1.19.2", "3.9": "==1.19.2", "3.10": "==1.23.2"}  # the last with wheels for aarch64
THEN_START = "then start "  # before the path of a Python; over ssh that is part of an address
# Cores by the last two digits of their part number, 0xd..
CORES = {
    "03": "Cortex-A53",
    "04": "Cortex-A35",
    "05": "Cortex-A55",
    "07": "Cortex-A57",
    "08": "Cortex-A72",
    "09": "Cortex-A73",
    "0a": "Cortex-A75",
    "0b": "Cortex-A76",
    "0c": "Neoverse-N1",
    "0d": "Cortex-A77",
    "40": "Neoverse-V1",
    "41": "Cortex-A78",
    "42": "Cortex-A78AE",
    "44": "Cortex-X1",
    "46": "Cortex-A510",
    "47": "Cortex-A710",
    "49": "Neoverse-N2",
    "4b": "Cortex-A78C",
    "4f": "Neoverse-V2",
    "80": "Cortex-A520",
    "81": "Cortex-A720",
}
# Bits 0 to 3 of `vcgencmd get_throttled`, for now; 16 bits higher, for any time since the start of the board.
THROTTLING = (
    "the supply voltage is too low: use the official power supply",
    "the frequency is capped: use a stronger power supply, or cool the board",
    "the board is throttled: cool it, or use a stronger power supply",
    "the soft temperature limit is reached: cool the board",
)


class AgentError(Exception):
    """This machine cannot measure; the message says why and what would help."""


class ChangedError(AgentError):
    """This machine is not as it was when a job was begun; no later attempt helps until that is undone."""


@dataclass(frozen=True)
class Protocol:
    """How to measure; everything that a figure may depend on."""

    threads: int = 1  # of ONNX Runtime within an operator
    spinning: bool = False  # whether they wait for work by spinning: on a busy machine, six times as slow
    pinned: bool = True  # whether they stay on as many cores: of the fastest, those least busy at the start
    clock: str = "wall"  # or `cpu`: processor time of this process, for busy machines and one thread
    seed: int = 0  # of inputs and of the order of visits
    rounds: int = 10  # visits of each model at least
    max_rounds: int = 12  # visits at most; a model that is not settled by then is noisy
    passes: int = 3  # over all models, among which the rounds are shared out
    held: int = 24  # sessions held at once; more models than that take turns within a pass
    visit_runs: int = 5  # timed runs of a visit at least, after one that is discarded
    visit_ms: float = 50.0  # time that a visit lasts at least [ms]
    interval: float = 0.015  # width of the median's 95 % interval over the median at which a model is settled
    warm_up_windows: int = 10  # windows of ten runs at most until two differ by less than 2 %
    sentinel_every: int = 10  # visits between two visits of the first model, the sentinel
    sentinel_tolerance: float = 0.03  # deviation of the sentinel from its median that spoils visits before it
    retries: int = 1  # how often spoilt visits are repeated; in all, no more than so many rounds
    cool_s: float = 0.5  # pause before repeating [s]
    profile_runs: int = 50  # profiled runs of a model in one sitting
    profile_skip: int = 10  # runs before them that are dropped
    profile_sittings: int = 3  # sittings of each model; other models come in between
    resident: bool = False  # whether a profile also tells what a process gains by loading and running it
    provider: str = ""  # execution provider and options, as `PROVIDER`; none: ONNX Runtime's own on the CPU


class AnyModel(Interface):
    """A named ONNX file; `content` may be brought from elsewhere each time: hundreds are too many to hold."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def content(self) -> bytes: ...  # noqa: D102


@dataclass(frozen=True)
class Model:
    """A named ONNX file held in memory."""

    name: str
    content: bytes


@dataclass(frozen=True)
class ModelInFolder:
    """A model of a job, that lies in its folder; `file` is the job's record of it."""

    name: str
    folder: str
    file: Json

    @property
    def content(self) -> bytes:
        """Read it.

        Raises:
            AgentError: It cannot be read, or is damaged.
        """
        path = os.path.join(self.folder, self.file["file"])
        try:
            with gzip.open(path) as stream:
                content = stream.read()
        except (OSError, EOFError) as error:
            raise AgentError("%s cannot be read (%s): unpack the bundle again" % (path, error)) from error
        if hashlib.sha256(content).hexdigest() != self.file["sha256"]:
            raise AgentError("%s is damaged: unpack the bundle again" % path)
        return content


def probe() -> Json:
    """Describe this machine: what a latency may depend on.

    Raises:
        AgentError: numpy or ONNX Runtime is missing, or known not to run here.
    """
    cpu, version = _cpu_name(), _installed_runtime()
    if struct.calcsize("P") != 8:  # also under a 64-bit kernel
        raise AgentError("Python is 32-bit, and there is no onnxruntime for that: install a 64-bit system")
    if version == "1.21.0" and "Cortex-A72" in cpu:  # the import would crash
        raise AgentError("onnxruntime 1.21.0 crashes on a Cortex-A72 (illegal instruction): install another")
    try:
        import numpy  # noqa: F401, ICN001
        import onnxruntime
    except ImportError as error:
        raise AgentError("%s: %s" % (error, _advice())) from error
    version = onnxruntime.__version__
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < OLDEST_RUNTIME:
        least = "%d.%d" % OLDEST_RUNTIME
        told = (version, least, _advice("--upgrade "))
        raise AgentError("onnxruntime %s is too old, %s is the least: %s" % told)
    return {
        "kind": "device",
        "host_name": platform.node(),
        "cpu": cpu,
        "cores": os.cpu_count() or 1,
        "architecture": platform.machine(),
        "system": "%s %s" % (platform.system(), platform.release()),
        "c_library": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "onnxruntime": version,
        "providers": list(onnxruntime.get_available_providers()),
        "board": _read(BOARD_MODEL),
        "governor": _governors(),
        "frequencies_mhz": [_frequency(0, "cpuinfo_%s_freq" % end) for end in ("min", "max")],
        "fastest_core_mhz": _fastest_core_mhz(),
        "state": probe_state(),
    }


def find_provider(text: str, available: Sequence[str], threads: int) -> Tuple[str, Dict[str, str]]:
    """ONNX Runtime's name of an execution provider, and its options; the CPU's for an empty text.

    Raises:
        AgentError: This ONNX Runtime has no such provider; the message says which it has.
    """
    if not text:
        return CPU_PROVIDER, {}
    called, *options = text.split(",")
    short = called.lower()
    names = {name[: -len(PROVIDER_ENDING)].lower(): name for name in available}
    if short not in names or not PROVIDER.fullmatch(text):
        known = ", ".join(sorted(name for name in names if names[name] != CPU_PROVIDER))
        told = "onnxruntime here has no execution provider %s, but %s: others come with other packages of it"
        told += ", on a Jetson with NVIDIA's own" * (short in ("cuda", "tensorrt"))
        raise AgentError(told % (text[:60], known or "its own on the CPU only"))
    own = {THREAD_OPTIONS[short]: "%d" % threads} if short in THREAD_OPTIONS else {}
    for option in options:
        key, value = option.split("=", 1)
        own[key] = value
    return names[short], own


def _advice(option: str = "") -> str:
    """How to install what is needed; a Python that others manage refuses it outside an environment."""
    install = "pip install %snumpy onnxruntime" % option + RUNTIMES.get("%d.%d" % sys.version_info[:2], "")
    if sys.prefix != sys.base_prefix:
        return "%s -m %s" % (sys.executable, install)
    told = (sys.executable, install, THEN_START, Path.home())
    return "%s -m venv ~/ofa && ~/ofa/bin/%s; %s%s/ofa/bin/python" % told


def probe_state() -> Json:
    """What may change while measuring: frequency of the first own core [MHz], temperature [C], throttle bits.

    0 if untold. Of several temperatures, the one nearest to `hot_c`, from which on its zone slows down.
    """
    zones = [zone for zone in glob.glob(THERMAL_ZONES) if not NOT_ITS_HEAT.search(_read(zone + "type"))]
    heat, limit = max(map(_heat, zones), key=lambda one: one[0] - one[1], default=(0.0, HOT_C))
    return {
        "frequency_mhz": _frequency(min(_own_cores(), default=0), "scaling_cur_freq"),
        "temperature_c": heat,
        "hot_c": limit,
        "throttled": _throttle_bits(),
    }


def _heat(zone: str) -> Tuple[float, float]:
    """Temperature of a zone, and from which on it slows the processor down [C]."""
    kinds = [path for path in glob.glob(zone + "trip_point_*_type") if _read(path) == "passive"]
    trips = [_number(path[: -len("type")] + "temp") / 1000.0 for path in kinds]
    usual = HOT_X86_C if _read(zone + "type") == "x86_pkg_temp" else HOT_C
    return _number(zone + "temp") / 1000.0, min((trip for trip in trips if trip > 0), default=usual)


def examine(model_bytes: int = 0, threads: int = 1, provider: str = "") -> Json:
    """Describe a machine that is about to be measured, with `warnings`; arguments as in `find_faults`.

    Where its `provider` is to be measured, the record names it, as `Protocol` does.

    Raises:
        AgentError: It cannot be measured, or must not be as it is.
    """
    crash = 0
    if "onnxruntime" not in sys.modules:  # a crash is no exception that could be caught here
        line = [sys.executable, "-c", "import onnxruntime"]
        crash = -subprocess.run(line, stderr=subprocess.PIPE, check=False).returncode
    if crash > 0:
        told = (_installed_runtime(), crash, _cpu_name())
        raise AgentError("onnxruntime %s crashes (signal %d) on this %s: install another version" % told)
    machine = {**probe(), "free_bytes": free_bytes()}
    find_provider(provider, machine["providers"], threads)
    machine.update({"provider": provider} if provider else {})
    machine["cpu_quota"] = cpu_quota()
    machine["load"] = round(sum(_watch_cores().values()) * TICK_S / CORES_WATCHED_S, 2)
    refusals, machine["warnings"] = find_faults(machine, model_bytes, threads)
    if refusals:
        raise AgentError("; ".join(refusals))
    return machine


def free_bytes() -> int:
    """Memory that programs may still take; 0 where nobody knows."""
    available = re.search(r"MemAvailable:\s+(\d+)", _read("/proc/meminfo"))
    return int(available.group(1)) * 1024 if available else 0


def find_memory_faults(model_bytes: int, free: int) -> List[str]:
    """Why models that need so much at once must not be measured where so much is free."""
    told = "the models need %d MiB of memory, %d are free: end other programs; --precision int8: a quarter"
    return [told % (model_bytes >> 20, free >> 20)] * (0 < free < model_bytes)


def find_quota_faults(threads: int, quota: float) -> List[str]:
    """Why so many threads must not be measured where `cpu_quota` leaves so much."""
    told = "--threads %d, but a CPU quota of %.3g cores: times would include being throttled; raise it to "
    told += "%d cores or more (docker run --cpus, CPUQuota=), or %s"
    others = "ask for fewer" if quota >= 1 else "measure another device"
    return [told % (threads, quota, threads + 1, others)] * (0 < quota < threads)


def find_quota_doubts(threads: int, quota: float) -> List[str]:
    """What makes figures of so many threads doubtful where `cpu_quota` leaves so much."""
    told = (
        "a CPU quota of %.3g cores for --threads %d: whatever else runs within it gets them throttled, "
        "and times include that; a whole core more is enough, or fewer threads"
    )
    return [told % (quota, threads)] * (threads <= quota < threads + 1)


def find_faults(machine: Json, model_bytes: int, threads: int) -> Tuple[List[str], List[str]]:
    """Why a machine must not be measured as it is, and what makes its figures doubtful.

    `model_bytes` are needed at once, `free_bytes` of `machine` are there; 0 where nobody knows. Its
    `cpu_quota` is that of the function.
    """
    state, governor = machine["state"], machine["governor"]
    bits, below_hot = int(state["throttled"] or "0", 16), state["hot_c"] - state["temperature_c"]
    hot = "%.0f degrees C: let it cool" % state["temperature_c"]
    refusals = [text for bit, text in enumerate(THROTTLING) if bits >> bit & 1]
    refusals += [hot] * (below_hot <= 0) + find_memory_faults(model_bytes, machine["free_bytes"])
    refusals += ["%d threads, but %d cores: ask for fewer" % (threads, machine["cores"])] * (
        threads > machine["cores"]
    )
    refusals += find_quota_faults(threads, machine["cpu_quota"])
    warnings = ["since its start: " + text for bit, text in enumerate(THROTTLING) if bits >> 16 >> bit & 1]
    untold = machine.get("board", "").startswith("Raspberry Pi") and not state["throttled"]
    warnings += [
        "throttling cannot be seen: vcgencmd is missing, or refuses a user outside the group video"
    ] * untold
    warnings += [hot] * (0 < below_hot <= NEARLY_HOT_C)
    warnings += ["busy with something else: load %.1f" % machine["load"]] * (machine["load"] > 0.5)
    warnings += find_quota_doubts(threads, machine["cpu_quota"])
    _, most_mhz, cap_mhz = machine.get("fastest_core_mhz", (0.0, 0.0, 0.0))
    capped = "the fastest core is capped at %.0f MHz of %.0f, and figures are of that: see nvpmodel, cpupower"
    warnings += [capped % (cap_mhz, most_mhz)] * (0 < cap_mhz < most_mhz)
    if governor not in ("", "performance"):
        told = (governor, SET_GOVERNOR % "performance")
        warnings.append("frequency governor %s, so figures will vary: %s" % told)
    return refusals, warnings


def time_models(models: Sequence[AnyModel], protocol: Protocol, done: Sequence[Json] = ()) -> Iterator[Json]:
    """Time models unprofiled in interleaved rounds of random order; the first model is the sentinel.

    A machine that others share changes its speed from minute to minute, for small models not as for large
    ones. So each pass visits all models, in groups that are drawn anew: none is timed in another minute than
    the others.

    Yields:
        One record a visit, but for those that are `done`; `spoilt` says that the machine was not itself and
        retries were used up.

    Raises:
        AgentError: The execution provider takes no operator of the first model.
    """
    rng = np.random.default_rng(protocol.seed)
    known = {(record["model"], record["round"]): record for record in done}
    wanted = list(range(len(models)))
    told = [record.get("frequency_mhz") for record in done]
    course = Course([], [one for one in told if isinstance(one, float)])
    with on_own_cores(protocol):
        if protocol.provider:
            _profile(models[0], replace(protocol, profile_runs=1, profile_skip=0))
        for turns in _passes(protocol):
            if turns[0] >= protocol.rounds:
                wanted = [index for index in wanted if _is_unsettled(models[index].name, known, protocol)]
            order = [int(index) for index in rng.permutation(wanted)]
            for start in range(0, len(order), protocol.held):
                group = order[start : start + protocol.held]
                for record in _visit_group(models, group, turns, protocol, known, course, rng):
                    known[record["model"], record["round"]] = record
                    yield record


def _passes(protocol: Protocol) -> List[range]:
    """The rounds of each pass; the last one is for models that are not settled then."""
    ends = [protocol.rounds * number // protocol.passes for number in range(protocol.passes + 1)]
    turns = [range(first, last) for first, last in zip(ends, ends[1:])]
    return [one for one in (*turns, range(protocol.rounds, protocol.max_rounds)) if one]


def _is_unsettled(name: str, known: Dict[Tuple[str, int], Json], protocol: Protocol) -> bool:
    visits = [known[name, turn] for turn in range(protocol.rounds)]
    calm = [one for one in visits if not one.get("spoilt")]
    medians = [float(np.median(one[protocol.clock + "_ms"])) for one in calm]
    return 2 * len(calm) <= len(visits) or interval_width(medians) > protocol.interval


def _visit_group(
    models: Sequence[AnyModel],
    group: Sequence[int],
    turns: range,
    protocol: Protocol,
    known: Dict[Tuple[str, int], Json],
    course: "Course",
    rng: "np.random.Generator",
) -> Iterator[Json]:
    """Visits of some models in turns, but for those that are known; their sessions end with it."""
    watch = None
    for turn in turns:
        order = [int(index) for index in rng.permutation(group)]
        for start in range(0, len(order), protocol.sentinel_every):
            some = order[start : start + protocol.sentinel_every]
            missing = [index for index in some if (models[index].name, turn) not in known]
            if missing:
                watch = watch or _Watch(models, group, protocol, course)
                visits, state = watch.visit_calmly(missing)
                for index, visit in zip(missing, visits):
                    yield {"kind": "visit", "model": models[index].name, "round": turn, **state, **visit}


def profile_models(
    models: Sequence[AnyModel], protocol: Protocol, done: Sequence[Json] = ()
) -> Iterator[Json]:
    """Profile models, each in sittings of its own with the other models in between.

    Yields:
        One record a sitting, but for those that are `done`: see `read_profile`; with `resident` of the
        protocol also `resident_bytes`, see `resident_growth`.
    """
    known = {(record["model"], record["sitting"]) for record in done}
    with on_own_cores(protocol):
        for sitting in range(protocol.profile_sittings):
            for model in models:
                if (model.name, sitting) not in known:
                    grown = {}
                    if protocol.resident:
                        grown = {"resident_bytes": resident_growth(model, protocol.provider)}
                    place = {"kind": "profile", "model": model.name, "sitting": sitting}
                    yield {**place, **_profile(model, protocol), **grown}


def compute_logits(
    models: Sequence[AnyModel], protocol: Protocol, done: Sequence[Json] = ()
) -> Iterator[Json]:
    """What models answer to `make_inputs`, in sessions like those that are timed.

    Yields:
        One record a model, but for those that are `done`: `logits`, a list an input; no number is None.
    """
    known = {record["model"] for record in done}
    for model in models:
        if model.name not in known:
            place = {"kind": "logits", "model": model.name, "sitting": 0}
            yield {**place, "logits": _answer(Runner(model, protocol).session, protocol.seed)}


def _answer(session: Any, seed: int) -> List[List[Any]]:
    given, output = session.get_inputs()[0], session.get_outputs()[0]
    inputs = make_inputs(given.shape, given.type == "tensor(uint8)", seed)
    rows = []  # type: List[Any]
    for start in range(0, LOGIT_INPUTS, given.shape[0]):
        some = inputs[np.arange(start, start + given.shape[0]) % LOGIT_INPUTS]
        rows += list(session.run([output.name], {given.name: some})[0])
    few = rows[:LOGIT_INPUTS]  # nine digits tell every number in fp32 from the next
    return [[float("%.9g" % one) if np.isfinite(one) else None for one in row.tolist()] for row in few]


def make_inputs(shape: Sequence[int], is_pixels: bool, seed: int) -> Any:
    """Inputs `(LOGIT_INPUTS, C, H, W)` float32 from -4 to 4, or `(LOGIT_INPUTS, H, W, C)` uint8 for pixels.

    Bit for bit the same on every machine: no generator of numpy's, but integers, over a power of two in the
    end. Blotches of all sizes: to a network that averages over the image, all white noise is the same.

    Args:
        shape: Of the model's input, with its batch.
        is_pixels: Whether that is uint8.
        seed: Other seeds, other inputs.
    """
    channels, *sides = (shape[3], shape[1], shape[2]) if is_pixels else shape[1:]
    total = np.zeros((LOGIT_INPUTS, channels, *sides), dtype=np.int64)
    for number, most in enumerate(BLOTCHES):
        rows, columns = (min(most, side) for side in sides)
        drawn = _draw_bytes(len(BLOTCHES) * seed + number, LOGIT_INPUTS * channels * rows * columns)
        down, across = np.arange(sides[0]) * rows // sides[0], np.arange(sides[1]) * columns // sides[1]
        total += drawn.reshape(LOGIT_INPUTS, channels, rows, columns)[:, :, down][..., across]
    if is_pixels:
        return np.ascontiguousarray((total // len(BLOTCHES)).astype(np.uint8).transpose(0, 2, 3, 1))
    return ((total - 510) / 128.0).astype(np.float32)


def _draw_bytes(stream: int, count: int) -> Any:
    """Bytes `(count,)` int64: the top ones of SplitMix64.

    Source: Steele, Lea and Flood 2014, Fast splittable pseudorandom number generators, figure 17.
    """
    golden = 0x9E3779B97F4A7C15
    start = np.uint64((stream << 40) * golden % (1 << 64))  # a trillion draws on for each stream
    mixed = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(golden) + start
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(56)).astype(np.int64)


@contextmanager
def on_own_cores(protocol: Protocol) -> Iterator[None]:
    """Keep this thread, and those that sessions start from it, on cores that it does not leave meanwhile.

    Where a board has fast and slow cores, a scheduler that moves it would decide the figures. Nothing happens
    where the system cannot do it, or where there are no more cores than threads.

    Raises:
        AgentError: Fewer cores than threads were left to this process, by a container or `taskset`.
    """
    before = _own_cores()
    for fault in find_quota_faults(protocol.threads, cpu_quota()):
        raise AgentError(fault)
    if 0 < len(before) < protocol.threads:
        told = (protocol.threads, len(before))
        raise AgentError("%d threads, but this process may use %d cores only: ask for fewer" % told)
    if not protocol.pinned or len(before) <= protocol.threads:
        yield
        return
    os.sched_setaffinity(0, choose_cores(sorted(before), protocol.threads))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def choose_cores(cores: Sequence[int], count: int) -> List[int]:
    """So many of the fastest cores, of these the idlest of this moment, of these the last ones."""
    busy = _watch_cores()
    speed = {core: _core_speed(core) for core in cores}
    return sorted(cores, key=lambda core: (-speed[core], busy.get(core, 0), -core))[:count]


def _watch_cores() -> Dict[int, int]:
    """What each core works in the next moment [ticks]; none where the system does not tell."""
    started = _busy_ticks()
    time.sleep(CORES_WATCHED_S)
    return {core: ticks - started.get(core, ticks) for core, ticks in _busy_ticks().items()}


def _own_cores() -> Set[int]:
    """Those that this thread may run on; none where the system does not tell."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def usable_cores() -> int:
    """How many cores this process can keep busy: those that it may run on, no more than its quota."""
    count = len(_own_cores()) or os.cpu_count() or 1
    return int(min(count, -(-cpu_quota() // 1) or count))


def cpu_quota() -> float:
    """Processor time over time that this process may use, by its control groups and those around them.

    Of a container or a service: all cores are seen, but who has used up the quota stands still until the next
    period begins, each tenth of a second as a rule. 0 where there is none, or no less than the cores.
    """
    quotas = []
    for controllers, place in re.findall(r"^\d+:(.*?):(.*)$", _read(OWN_CGROUPS), re.MULTILINE):
        if controllers and "cpu" not in controllers.split(","):
            continue
        folder = os.path.join(CGROUPS, "cpu") if controllers else CGROUPS  # version 1, or 2
        for part in place.split("/"):  # from the root on: within a container, it is the own
            folder = os.path.join(folder, part)
            own, usual = os.path.join(folder, "cpu.max"), os.path.join(folder, "cpu.cfs_%s_us")
            text = _read(own) or _read(usual % "quota") + " " + _read(usual % "period")
            told = re.fullmatch(r"([1-9]\d*) ([1-9]\d*)", text)
            quotas += [int(told.group(1)) / int(told.group(2))] if told else []
    least = min(quotas, default=0.0)
    return least if least < (len(_own_cores()) or os.cpu_count() or 1) else 0.0


def _frequency(core: int, name: str) -> float:
    """Of a core, by the name of its file [MHz]; 0 if untold."""
    return _number(CORE_FOLDER % core + "cpufreq/" + name) / 1000.0


def _fastest_core_mhz() -> List[float]:
    """Least, largest and allowed frequency of the fastest own core [MHz]; 0 if untold.

    Measurements run on the fastest cores. What is allowed may be less than what the core can do: a power mode
    (`nvpmodel`), `cpupower frequency-set -u` and a cooling device cap it.
    """
    core = max(sorted(_own_cores()), key=_core_speed, default=0)
    names = "cpuinfo_min_freq", "cpuinfo_max_freq", "scaling_max_freq"
    return [_frequency(core, name) for name in names]


def _core_speed(core: int) -> float:
    """Of a core beside the others of its board; 0 if untold."""
    place = CORE_FOLDER % core
    return _number(place + "cpu_capacity") or _number(place + "cpufreq/cpuinfo_max_freq")


def _busy_ticks() -> Dict[int, int]:
    """What each core has worked since the start of the system [ticks]."""
    busy = {}
    for core, text in re.findall(r"^cpu(\d+) (.+)$", _read("/proc/stat"), re.MULTILINE):
        ticks = [int(one) for one in text.split()]
        busy[int(core)] = sum(ticks[:3] + ticks[5:8])  # all but idle, and waiting for a disk
    return busy


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

    def __init__(self, model: AnyModel, protocol: Protocol, profile_prefix: str = "") -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = protocol.threads
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = True
        options.enable_mem_pattern = True
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "01"[protocol.spinning])
        options.add_session_config_entry(*EXACT_PRODUCTS)
        if profile_prefix:
            options.enable_profiling = True
            options.profile_file_prefix = profile_prefix
        available = ort.get_available_providers()
        provider, own = find_provider(protocol.provider, available, protocol.threads)
        place = ""
        if "NPU" in own.get("device_type", "").upper():
            place = " on %s alone" % protocol.provider
            options.add_session_config_entry(*NOTHING_ON_CPU)
        try:
            self.session = ort.InferenceSession(model.content, options, [provider], [own], enable_fallback=0)
        except Exception as error:  # ONNX Runtime's own classes differ from version to version
            raise AgentError("onnxruntime refuses model %s%s: %s" % (model.name, place, error)) from error
        if provider not in self.session.get_providers():  # ONNX Runtime only warns, and takes the CPU
            told = "%s cannot be used here: libraries or its device are missing, or it refuses its options"
            raise AgentError(told % protocol.provider)
        rng = np.random.default_rng(protocol.seed)  # normal inputs: denormals would slow a run down
        self.binding = self.session.io_binding()
        self.buffers = []
        for value in self.session.get_inputs():
            is_pixels = value.type == "tensor(uint8)"
            drawn = rng.integers(0, 256, value.shape) if is_pixels else rng.standard_normal(value.shape)
            self.buffers.append(drawn.astype(np.uint8 if is_pixels else np.float32))
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


@dataclass
class Course:
    """What a whole measurement has seen so far, over all groups of models."""

    sentinel_ms: List[float]
    frequencies_mhz: List[float]  # of the first own core; of visits before an interruption too

    def judge(self, sentinel_ms: float, state: Json, tolerance: float) -> Json:
        """Whether visits count, as the sentinel behind them took and the machine's state then tell."""
        self.sentinel_ms.append(sentinel_ms)
        # The usual one, not the highest: a processor that boosts for a moment does not keep it up.
        usual_mhz = float(np.median(self.frequencies_mhz)) if self.frequencies_mhz else 0.0
        self.frequencies_mhz.append(state["frequency_mhz"])
        least, latest = SENTINEL_HISTORY
        usual = float(np.median(self.sentinel_ms[-latest:]))
        strays = len(self.sentinel_ms) > least and abs(sentinel_ms - usual) > tolerance * usual
        throttled = bool(int(state["throttled"] or "0", 16) & 0xF)  # the low bits tell of this moment
        throttled |= state["frequency_mhz"] < 0.97 * usual_mhz or state["temperature_c"] >= state["hot_c"]
        return {
            "spoilt": throttled or strays,
            "throttled": throttled,
            "frequency_mhz": state["frequency_mhz"],
        }


class _Watch:
    """Repeats visits that were spoilt, as the sentinel and the machine's state tell.

    No more are repeated than a few rounds hold: on a machine that never rests, it does not help.
    """

    def __init__(
        self, models: Sequence[AnyModel], group: Sequence[int], protocol: Protocol, course: Course
    ) -> None:
        self.runners = {index: Runner(models[index], protocol) for index in sorted({0, *group})}
        for runner in self.runners.values():
            runner.warm_up(protocol)
        self.protocol = protocol
        self.retries_left = -(-len(group) // protocol.sentinel_every) * protocol.retries
        self.course = course

    def visit_calmly(self, indices: Sequence[int]) -> Tuple[List[Json], Json]:
        for attempt in range(1 + self.protocol.retries):
            visits = [self.runners[index].visit(self.protocol) for index in indices]
            state = self._judge()
            if not state["spoilt"] or self.retries_left == 0 or attempt == self.protocol.retries:
                break
            self.retries_left -= 1
            time.sleep(self.protocol.cool_s)
        return visits, state

    def _judge(self) -> Json:
        figures = self.runners[0].visit(self.protocol)[self.protocol.clock + "_ms"]
        tolerance = self.protocol.sentinel_tolerance
        return self.course.judge(float(np.median(figures)), probe_state(), tolerance)


def _profile(model: AnyModel, protocol: Protocol) -> Json:
    try:
        with tempfile.TemporaryDirectory() as folder:
            runner = Runner(model, protocol, profile_prefix=os.path.join(folder, "profile"))
            for _ in range(protocol.profile_skip + protocol.profile_runs):
                runner.run()
            with open(runner.session.end_profiling(), encoding="utf-8") as file:
                events = json.load(file)
    except (OSError, ValueError) as error:
        told = "ONNX Runtime could not write its profile below %s: make room there"
        raise AgentError(told % (tempfile.tempdir or "a folder for temporary files")) from error
    found = read_profile(events, skip=protocol.profile_skip)
    if not protocol.provider:
        return found
    if not any(node.get("elsewhere") for node in found["nodes"]):
        told = "%s takes no operator of model %s: all of it would run on the CPU"
        raise AgentError(told % (protocol.provider, model.name))
    return {**found, "peak_bytes": 0}  # ONNX Runtime does not know what a provider allocates


def read_profile(events: Sequence[Json], skip: int) -> Json:
    """Node times of a profile of ONNX Runtime, as `end_profiling` wrote it, without the first `skip` runs.

    The 30th percentile serves: durations are whole microseconds and their mean is spoilt by interruptions.

    Returns:
        `nodes`: name, operator, `ms`, in execution order, `elsewhere` where another execution provider than
        the CPU's has it; `peak_bytes`: most bytes of activations requested at once in the first run, before
        memory is planned as one block; 0 before version 1.28.
    """
    durations = {}  # type: Dict[str, List[float]]
    operators = {}  # type: Dict[str, str]
    providers = {}  # type: Dict[str, str]
    requested = []  # type: List[int]
    for event in events:
        if event.get("cat") != "Node" or not event["name"].endswith("_kernel_time"):
            continue
        name = event["name"][: -len("_kernel_time")]
        durations.setdefault(name, []).append(event["dur"] / 1000.0)
        operators[name] = event["args"].get("op_name", "")
        providers[name] = event["args"].get("provider", CPU_PROVIDER)
        if len(durations[name]) == 1:
            in_use = int(event["args"].get("mem_bytes_requested_in_use", 0))
            if not requested:  # what was there before the first node: weights
                requested.append(in_use - int(event["args"].get("mem_requested_in_use_delta", 0)))
            requested.append(in_use)
    nodes = []  # type: List[Json]
    for name, times in durations.items():
        typical = round(float(np.percentile(times[skip:], 30)), 6)
        node = {"name": name, "operator": operators[name], "ms": typical}
        nodes.append(node if providers[name] == CPU_PROVIDER else {**node, "elsewhere": True})
    return {"nodes": nodes, "peak_bytes": max(requested) - requested[0] if requested else 0}


def resident_growth(model: AnyModel, provider: str = "") -> int:
    """Most resident memory while a model is loaded and run, less that of the same process before [bytes].

    A process of its own, since what this one has freed before would hide the growth. Before, Python, numpy
    and ONNX Runtime are imported and the model's file is in memory. So the figure holds weights, activations,
    whatever ONNX Runtime copies while it optimises the graph, and pages of its library that are used for the
    first time; it does not hold ONNX Runtime itself. One thread, batch 1; 0 where the system does not tell.

    Raises:
        AgentError: The model cannot be run.
    """
    line = [sys.executable, os.path.abspath(__file__), "--resident", "--provider", provider]
    done = subprocess.run(line, input=model.content, capture_output=True, check=False)
    text = done.stdout.decode(errors="replace").strip()
    if done.returncode or not text.isdigit():
        told = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise AgentError("the model cannot be run in a process of its own: %s" % told[-1][:300])
    return int(text)


def _print_growth(provider: str) -> int:
    """That of the model on the standard input, in this process."""
    import onnxruntime  # noqa: F401 - it is not to be counted

    model = Model("", sys.stdin.buffer.read())
    with suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")  # the peak so far, which importing may have left above the rest
    before = _resident("VmRSS")
    runner = Runner(model, Protocol(provider=provider))
    for _ in range(RESIDENT_RUNS):
        runner.run()
    print(max(0, _resident("VmHWM") - before))
    return 0


def _resident(key: str) -> int:
    found = re.search(r"^%s:\s+(\d+) kB$" % key, _read("/proc/self/status"), re.MULTILINE)
    return 1024 * int(found.group(1)) if found else 0


def _cpu_name() -> str:
    """Model and kinds of cores; those of a board may differ."""
    text = _read(CPU_INFO)
    match = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    parts = re.findall(r"^CPU part\s*:\s*0xd(\w\w)$", text, re.MULTILINE)
    name = match.group(1).strip() if match else platform.processor()
    words = [name, *dict.fromkeys(CORES.get(part, "") for part in parts)]
    return " ".join(filter(None, words)) or _read(BOARD_MODEL) or "unknown processor"


def _governors() -> str:
    """Of all cores: fast ones may have another than slow ones."""
    paths = sorted(glob.glob(CORE_FOLDER.replace("%d", "[0-9]*") + "cpufreq/scaling_governor"))
    return ", ".join(dict.fromkeys(filter(None, map(_read, paths))))


def _throttle_bits() -> str:
    try:
        done = subprocess.run(["vcgencmd", "get_throttled"], stdout=subprocess.PIPE, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = re.search(rb"throttled=(0x[0-9a-fA-F]+)", done.stdout)
    return match.group(1).decode() if match else ""


def _installed_runtime() -> str:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version("onnxruntime")
    return ""


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip().strip("\0")
    except OSError:
        return ""


def _number(path: str) -> float:
    text = _read(path)
    return float(text) if text.lstrip("-").isdigit() else 0.0


def _check_results(path: str) -> None:
    """Refuse what cannot be results: a folder, a device, a pipe, a link to itself, or far too many bytes."""
    if not os.path.lexists(path):
        return
    try:
        status = Path(path).stat()
    except OSError as error:
        raise AgentError("%s: cannot be read: %s" % (path, error.strerror)) from error
    if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_RESULTS:
        raise AgentError("%s: is no file of results: delete it to start over" % path)


class Results:
    """The lines of `results.jsonl`, locked; half a line at its end is dropped: that is measured again.

    With `first_sent`, lines from that one on go to stdout; and an agent that a lost connection left is ended.
    Who holds the lock stands in `agent.pid` beside it.
    """

    def __init__(self, path: str, first_sent: "int | None") -> None:
        self.path, self.first_sent = path, first_sent
        self.records = []  # type: List[Json]
        _check_results(path)
        with self._writing():
            self.file = open(path, "ab+", buffering=0)  # noqa: SIM115 - until this program ends
        self._lock()
        self.file.seek(0)
        lines = self.file.read().split(b"\n")
        for line in lines[:-1]:
            try:
                self._take(line, json.loads(line))
            except (ValueError, RecursionError) as error:
                self.file.close()
                told = (path, len(self.records) + 1)
                raise AgentError("%s: line %d is damaged: delete the file to start over" % told) from error
        with self._writing():
            self.file.truncate(self.file.tell() - len(lines[-1]))

    def append(self, record: Json) -> None:
        """Have a line on the disk before anything else happens.

        Raises:
            AgentError: It cannot be written; what there is of it will be dropped.
        """
        line = json.dumps(record).encode()
        with self._writing():
            left = line + b"\n"
            while left:  # a disk that is nearly full takes a part
                left = left[self.file.write(left) :]
            os.fsync(self.file.fileno())
        self._take(line, record)

    def tell(self, line: str) -> None:
        """Tell whoever waits for results what goes on; it is not kept."""
        if self.first_sent is None:
            print(line, file=sys.stderr, flush=True)
        else:
            os.write(1, json.dumps({"kind": "waiting", "text": line}).encode() + b"\n")

    def of_task(self, number: int) -> List[Json]:
        """Records of a task of the job."""
        return [record for record in self.records if record.get("task") == number]

    def _take(self, line: bytes, record: Json) -> None:
        if not _is_own(record):
            raise ValueError("no record of this program")
        self.records.append(record)
        if self.first_sent is not None and len(self.records) > self.first_sent:
            os.write(1, line + b"\n")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            told = "%s: cannot be written: %s; make room, or have the folder writable, and start again"
            raise AgentError(told % (self.path, error.strerror)) from error

    def _lock(self) -> None:
        folder = os.path.dirname(os.path.realpath(self.path))
        note = os.path.join(folder, "agent.pid")
        for _ in range(100):
            if _has_lock(self.file.fileno()):
                with self._writing(), open(note, "w", encoding="ascii") as file:
                    file.write("%d" % os.getpid())
                return
            if self.first_sent is None:
                break
            holder = re.fullmatch(r"[1-9][0-9]{0,8}", _read(note))
            if holder and _is_agent(int(holder.group()), folder):
                with suppress(OSError):
                    os.kill(int(holder.group()), signal.SIGTERM)
            time.sleep(0.1)
        self.file.close()
        raise AgentError("another agent writes %s: wait, or end that one" % self.path)


def _is_agent(process: int, folder: str) -> bool:
    """Whether a process is this program, at work in a folder; never where the system has no /proc."""
    words = _read("/proc/%d/cmdline" % process).split("\0")
    programs = [word for word in words if os.path.basename(word) == "agent.py"]
    with suppress(OSError):
        start = os.readlink("/proc/%d/cwd" % process)
        places = [os.path.realpath(os.path.join(start, word)) for word in words if word]
        return bool(programs) and (folder in places or os.path.join(folder, "agent.py") in places)
    return False


def _is_own(record: Any) -> bool:
    """Whether a record says all that is read when a job goes on."""
    kind = record.get("kind") if isinstance(record, dict) else None
    keys = _OWN.get(kind, {}) if isinstance(kind, str) else {}  # type: Dict[str, Any]
    return bool(keys) and all(isinstance(record.get(key), kinds) for key, kinds in keys.items())


def done_tasks(results: Results) -> List[int]:
    """Numbers of the tasks that are done."""
    return [record["task"] for record in results.records if record["kind"] == "done"]


def job_id(job: Json) -> str:
    """Twenty hex digits of everything else that a job says."""
    content = {key: value for key, value in job.items() if key != "id"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]


@contextmanager
def alone_on_machine(tell: Callable[[str], None]) -> Iterator[None]:
    """Measure on this machine while no other agent does, whoever started it; ends with this process.

    Nobody waits for anybody where the lock cannot be made or opened.

    Args:
        tell: Is given a line for people, whenever another process has to be waited for.
    """
    path = os.path.join(os.environ.get("TMPDIR") or "/tmp", MACHINE_LOCK)  # noqa: S108 - only locked
    untold = "a process that the system does not tell, which has %s locked" % path
    before = told = ""
    lock = _open_shared(path)
    try:
        while lock >= 0 and not _has_lock(lock):
            holder = lock_holder(lock) or untold
            if holder != told and (holder != untold or before == untold):  # it may just have ended
                tell("waiting for another measurement there: %s; if that hangs, end it" % holder)
                told = holder
            before = holder
            time.sleep(MACHINE_POLL_S)  # waiting in flock would not end by the signal of `_follow_stdin`
            os.close(lock)
            lock = _open_shared(path)  # somebody may have removed the file
        if lock >= 0:
            with suppress(OSError):  # so that no sweeper of old files takes it
                os.utime(lock)
        yield
    finally:
        if lock >= 0:
            os.close(lock)


def _open_shared(path: str) -> int:
    """Open a file that all users of a machine lock, but do not write; -1 where that cannot be."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    with suppress(OSError):
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            with suppress(FileExistsError):  # made by another meanwhile
                made = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644)
                os.fchmod(made, 0o644)  # whatever the umask
                return made
            return os.open(path, flags)
    return -1


def _has_lock(file: int) -> bool:
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a network file system without locks: one agent at a time is the user's care
        return True
    return True


def lock_holder(file: int) -> str:
    """The process that has an open file locked, for people who may have to end it; empty if untold."""
    status = os.fstat(file)
    place = "%02x:%02x:%d" % (os.major(status.st_dev), os.minor(status.st_dev), status.st_ino)
    for line in _read("/proc/locks").splitlines():
        words = line.split()
        if words[1:2] == ["FLOCK"] and words[5:6] == [place] and words[4].isdigit() and words[4] != "0":
            return _describe_process(words[4])
    return ""


def _describe_process(process: str) -> str:
    folder = "/proc/%s/" % process
    command = "".join(one if one.isprintable() else " " for one in _read(folder + "cmdline"))
    asked = re.search("(?:^|\0)SSH_CLIENT=([0-9a-fA-F.:]+) ", _read(folder + "environ"))
    user = ""
    with suppress(ImportError, KeyError, OSError):
        import pwd

        user = " of %s" % pwd.getpwuid(Path(folder).stat().st_uid).pw_name
    told = "process %s%s" % (process, user) + (", asked from %s" % asked.group(1) if asked else "")
    return told + (" (%s)" % command[:120] if command else "")


def sweep(folder: str) -> None:
    """Remove from the folder of all jobs what nobody will ask for again.

    That is an upload that stopped long ago, and a job that nobody measured or asked for in two weeks: any
    update of the board, or of this tool, makes another job of the same measurement.
    """
    with suppress(OSError):
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                age_s = time.time() - _last_write(entry.path)
                if entry.name.endswith(PART) and age_s > PART_S:
                    shutil.rmtree(entry.path, ignore_errors=True)
                elif JOB_NAME.fullmatch(entry.name) and age_s > JOB_S:
                    _drop_job(entry.path)


def _drop_job(folder: str) -> None:
    """Remove a job, unless an agent is at work in it."""
    with suppress(OSError), open(os.path.join(folder, RESULTS), "ab") as file:
        if _has_lock(file.fileno()):
            part = folder + PART  # at once: whoever asks for it meanwhile finds all of it, or nothing
            Path(folder).rename(part)
            shutil.rmtree(part, ignore_errors=True)


def _last_write(folder: str) -> float:
    """When a folder, or anything in it, was written to; now, if it is just being removed."""
    try:
        inside = [os.path.join(place, name) for place, _, names in os.walk(folder) for name in ("", *names)]
        return max(os.lstat(path).st_mtime for path in inside)
    except (OSError, ValueError):
        return time.time()


def run_job(folder: str, first_sent: "int | None" = None) -> None:
    """Measure what is missing of the job in a folder; `first_sent` is that of `Results`.

    Raises:
        AgentError: This machine cannot measure, or what stands there cannot be gone on with.
        ChangedError: It was measured otherwise.
    """
    path = os.path.join(folder, "job.json")
    try:
        with open(path, encoding="utf-8") as file:
            job = json.load(file)
        if job["id"] != job_id(job):
            raise AgentError("%s was changed after it was written: unpack the whole bundle anew" % path)
        protocol, tasks = Protocol(**job["protocol"]), job["tasks"]
        files = [[job["models"][name] for name in task["models"]] for task in tasks]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise AgentError("%s: no job of this program: unpack the whole bundle anew" % path) from error
    results = Results(os.path.join(folder, RESULTS), first_sent)
    if len(done_tasks(results)) < len(files):
        with alone_on_machine(results.tell):
            _measure_rest(folder, job, protocol, files, results)


def _measure_rest(
    folder: str, job: Json, protocol: Protocol, files: Sequence[Sequence[Json]], results: "Results"
) -> None:
    tasks, done, first_sent = job["tasks"], done_tasks(results), results.first_sent
    sizes = [[file["bytes"] for file in some] for some in files]
    wanted, timed = protocol.held, [one for one, task in zip(sizes, tasks) if task["kind"] == "time"]
    for some in timed:
        protocol = fit_memory(protocol, some, free_bytes())
    needed = max(needed_bytes(one, task["kind"], protocol) for one, task in zip(sizes, tasks))
    machine = examine(needed, protocol.threads, protocol.provider)
    machine.update({"job": job["id"], "process": os.getpid()})
    if protocol.held < wanted:
        told = "little free memory: %d networks take turns at a time, not %d, so drift shows more"
        machine["warnings"].append(told % (protocol.held, wanted))
    _check_unchanged(results, machine)
    results.append(machine)
    for number, task in enumerate(tasks):
        if number in done:
            continue
        models = [ModelInFolder(name, folder, one) for name, one in zip(task["models"], files[number])]
        measure = {"time": time_models, "logits": compute_logits}.get(task["kind"], profile_models)
        least = len(models) * least_records(task["kind"], protocol)
        for record in measure(models, protocol, results.of_task(number)):
            results.append({"task": number, **record})
            if first_sent is None:
                shown = (number + 1, len(tasks), len(results.of_task(number)), least)
                told = "\rpart %d of %d: %d measured of at least %d  " % shown
                print(told, end="", file=sys.stderr, flush=True)
        results.append({"task": number, "kind": "done"})


def least_records(kind: str, protocol: Protocol) -> int:
    """How many records of a model a task of a kind has at least."""
    return {"time": protocol.rounds, "logits": 1}.get(kind, protocol.profile_sittings)


def fit_memory(protocol: Protocol, sizes: Sequence[int], free: int) -> Protocol:
    """A protocol that holds as many sessions at once as the free memory takes, if these models are timed.

    None is dropped below `LEAST_HELD`: then the memory is too small. `free` is 0 where nobody knows; a tenth
    of it is left to what else goes on until they are loaded.
    """
    most = free * 9 // 10
    while 0 < most < needed_bytes(sizes, "time", protocol) and protocol.held > LEAST_HELD:
        protocol = replace(protocol, held=min(protocol.held, len(sizes)) - 1)
    return protocol


def needed_bytes(sizes: Sequence[int], kind: str, protocol: Protocol) -> int:
    """The most memory that models of such sizes take at once; a task that times has the sentinel besides."""
    return 2 * sum(sorted(sizes)[-1 - (protocol.held if kind == "time" else 0) :])


def _check_unchanged(results: Results, machine: Json) -> None:
    first = results.records[0] if results.records else machine
    if first.get("job") != machine["job"]:
        raise AgentError("%s belongs to another job: move it away" % results.path)
    for key in FIXED:
        if first[key] != machine[key]:
            is_governor = key == "governor" and re.fullmatch("[a-z_]+", str(first[key]))
            back = SET_GOVERNOR % first[key] if is_governor else "go back"
            again = "start again to go on, or delete the file to begin anew"
            if results.first_sent is not None:
                again = "run the same command again to go on; else that begins anew"
            told = (results.path, key, first[key], machine[key] or "untold", back, again)
            raise ChangedError("%s was begun with %s %s, this is %s: %s, and %s" % told)


def _follow_stdin() -> None:
    while os.read(0, 4096):  # until the other end of the connection has gone
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _interrupt(number: int, _: object) -> None:
    raise KeyboardInterrupt(number)


def main() -> int:
    """Run as a program; the exit status is 0, `REFUSED`, or when ended from outside 130, by SIGTERM 143."""
    parser = argparse.ArgumentParser(description="Measure a job; what was measured before is not repeated.")
    parser.add_argument("folder", nargs="?", default=os.path.dirname(os.path.abspath(sys.argv[0])))
    parser.add_argument("--check", action="store_true", help="only describe this machine")
    parser.add_argument(
        "--sweep",
        action="store_true",
        help="only remove old uploads and jobs from the folder",
    )
    parser.add_argument(
        "--resident", action="store_true", help="only tell what the model on the standard input takes [bytes]"
    )
    parser.add_argument("--provider", default="", help="that --resident is for (the CPU's)")
    parser.add_argument(
        "--send-from", type=int, metavar="LINE", help="send results to stdout, from this line"
    )
    args = parser.parse_args()
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # 1.29 and later report sessions
    if args.resident:
        return _print_growth(args.provider)
    if args.sweep:
        sweep(args.folder)
        return 0
    signal.signal(signal.SIGTERM, _interrupt)
    is_sent = args.check or args.send_from is not None
    try:
        if args.check:
            print(json.dumps(examine()))
            return 0
        if is_sent:
            threading.Thread(target=_follow_stdin, daemon=True).start()
        run_job(args.folder, args.send_from)
    except AgentError as error:
        record = {"kind": "refusal", "text": str(error), "final": isinstance(error, ChangedError)}
        print(json.dumps(record) if is_sent else "refused: %s" % error)
        return REFUSED
    except (KeyboardInterrupt, BrokenPipeError) as error:
        return 128 + (signal.SIGTERM if signal.SIGTERM in error.args else signal.SIGINT)
    if not is_sent:
        print("\ndone: take results.jsonl back")
    return 0


if __name__ == "__main__":
    sys.exit(main())
