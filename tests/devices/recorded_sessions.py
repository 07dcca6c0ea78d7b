"""Real sessions of ONNX Runtime that note every run, by a clock that a test sets; and a board's `vcgencmd`.

The agent asks for sessions and for the time as always; a run really happens, and then the clock moves on by
what the test says that it takes.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from ofa_nas.devices import Model

SHAPE = (1, 3, 16, 16)
VCGENCMD = """#!/bin/sh
# Line n of `answers` the n-th time, the last one for ever.
cd "$(dirname "$0")" || exit
echo >> calls
tail -n +"$(wc -l < calls)" answers | head -n 1 | grep . || tail -n 1 answers
"""


def copying_models(count: int) -> list[Model]:
    """Networks that give their input back, named m0, m1, …; m0 is the sentinel."""
    return [_copying_model(f"m{number}") for number in range(count)]


def _copying_model(name: str) -> Model:
    sides = [helper.make_tensor_value_info(side, TensorProto.FLOAT, SHAPE) for side in ("image", "copy")]
    graph = helper.make_graph([helper.make_node("Identity", ["image"], ["copy"])], name, sides[:1], sides[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return Model(name, model.SerializeToString())


@dataclass(repr=False)
class Recorder:
    """What ran.

    Attributes:
        takes_ms: What a run takes, by the model's name and how often it ran before [ms].
        node_us: What each node takes in a profile, by the number of the run [us].
        after_run: Called after each run.
        runs: Names of the models, in the order of the runs.
        inputs: What each run computed on.
        outputs: Addresses of each run's output, before it and behind it; before is 0 where there was none.
        sessions: All that were opened.
        now_ns: The clock.
    """

    takes_ms: Callable[[str, int], float] = lambda _name, _before: 10.0
    node_us: Callable[[int], int] = lambda _number: 1000
    after_run: Callable[[], None] = lambda: None
    runs: list[str] = field(default_factory=list)
    inputs: list[npt.NDArray[Any]] = field(default_factory=list)
    outputs: list[tuple[int, int]] = field(default_factory=list)
    sessions: list[Any] = field(default_factory=list)
    now_ns: int = 10**12

    def note(self, name: str) -> None:
        """A run has happened."""
        self.now_ns += round(1e6 * self.takes_ms(name, self.runs.count(name)))
        self.runs.append(name)
        self.after_run()

    def sleep(self, seconds: float) -> None:
        """Instead of a pause."""
        self.now_ns += round(1e9 * seconds)

    def retime(self, profile: Path) -> None:
        """Have the nodes of a profile take what the test says."""
        events, seen = json.loads(profile.read_text(encoding="utf-8")), dict[str, int]()
        for event in events:
            if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
                seen[event["name"]] = seen.get(event["name"], -1) + 1
                event["dur"] = self.node_us(seen[event["name"]])
        profile.write_text(json.dumps(events), encoding="utf-8")


def record_sessions(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """A recorder of all sessions that are opened from now on in this process."""
    found = Recorder()

    class Session(onnxruntime.InferenceSession):  # type: ignore[misc]  # it ships no types
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            found.sessions.append(self)

        def run_with_iobinding(self, binding: Any, run_options: Any = None) -> None:
            before = _addresses(binding.get_outputs())
            super().run_with_iobinding(binding, run_options)
            (output,) = binding.copy_outputs_to_cpu()
            found.outputs += zip(before, _addresses(binding.get_outputs()), strict=True)
            found.inputs.append(np.array(output))
            found.note(self.get_modelmeta().graph_name)

        def end_profiling(self) -> str:
            path = str(super().end_profiling())
            found.retime(Path(path))
            return path

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    for name in ("perf_counter_ns", "process_time_ns"):
        monkeypatch.setattr(time, name, lambda: found.now_ns)
    monkeypatch.setattr(time, "sleep", found.sleep)
    return found


def _addresses(values: Sequence[Any]) -> list[int]:
    return [value.data_ptr() if value.has_value() else 0 for value in values]


def path_with_vcgencmd(folder: Path, answers: Sequence[str]) -> str:
    """A PATH with a `vcgencmd` that gives these throttle bits one after the other, the last for ever."""
    command = folder / "vcgencmd"
    command.write_text(VCGENCMD, encoding="utf-8")
    command.chmod(0o755)
    lines = [f"throttled={bits}\n" for bits in answers]
    (folder / "answers").write_text("".join(lines), encoding="utf-8")
    return f"{folder}{os.pathsep}{os.environ['PATH']}"
