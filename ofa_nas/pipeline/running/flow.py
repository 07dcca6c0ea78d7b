"""The steps from images to a checked ONNX file, as commands of `ofa-nas` with their inputs and outputs."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ofa_nas.errors import FileError
from ofa_nas.files import read_json
from ofa_nas.latency.table import LatencyTable
from ofa_nas.pipeline.running.run_check import Facts
from ofa_nas.pipeline.running.run_file import CollectTable, ProfileTable, RunFile, flags
from ofa_nas.pipeline.running.run_folder import Step, digest_of
from ofa_nas.precisions import FP32
from ofa_nas.supernet_card import SupernetFiles

ARCHITECTURE = "ARCHITECTURE"  # stands in a command for what the search will have chosen
WEIGHTS, TABLE, SEARCH = "supernet.safetensors", "table.json", "search.json"
SUBNET, VERIFICATION, REPORT = "subnet.onnx", "verification.json", "report.html"
STEPS = ("train", "bootstrap", "collect", "fit", "profile", "search", "export", "verify", "report")


def plan_steps(run: RunFile, facts: Facts, *, content: str, is_anew: bool = False) -> list[Step]:
    """The steps of a run, in their order.

    Args:
        run: What is to be done.
        facts: What it turned out to mean.
        content: Digest of the images; empty where there are none.
        is_anew: Whether the device is measured even if there is a fresh table of it.
    """
    return _Planner(run, facts, content, is_anew=is_anew).steps()


def with_choice(step: Step, search: Path) -> Step:
    """A step whose commands name the architecture that a search has chosen.

    Raises:
        FileError: The file does not tell it.
    """
    if not any(ARCHITECTURE in command for command in step.commands):
        return step
    arch = read_json(search, error=FileError).get("architecture") if search.exists() else ARCHITECTURE
    if not isinstance(arch, str):
        raise FileError(f"{search}: architecture: expected a text; delete the file to search anew")
    commands = tuple(
        tuple(arch if word == ARCHITECTURE else word for word in command) for command in step.commands
    )
    return replace(step, commands=commands)


class _Planner:
    """Makes the steps of one run."""

    def __init__(self, run: RunFile, facts: Facts, content: str, *, is_anew: bool) -> None:
        self.run, self.facts, self.content = run, facts, content
        self.takes_fresh = run.profile == ProfileTable() and not is_anew
        is_own = run.train is not None or facts.is_collected
        self.files = SupernetFiles(run.folder / WEIGHTS) if is_own else facts.start or SupernetFiles.find("")
        self.supernet = str(self.files.weights) if is_own else run.supernet
        self.table = run.folder / TABLE
        self.has_table = run.search.device is not None
        self.is_profiled = self.has_table and facts.table is None
        self.seed = ["--seed", str(run.seed)]
        is_fp32 = run.export.predicted == FP32
        self.precision = [] if is_fp32 else ["--precision", run.export.predicted]
        self.torch = [] if run.threads is None else ["--threads", str(run.threads)]

    def steps(self) -> list[Step]:
        """All of them."""
        made = []
        if self.run.train is not None:
            made.append(self._train())
        elif self.facts.is_collected:
            made.append(self._bootstrap())
        if self.facts.is_collected or self.run.train is not None:
            made += [self._collect(self.run.collect or CollectTable()), self._fit()]
        if self.is_profiled:
            made.append(self._profile())
        made += [self._search(), self._export(), self._verify()]
        return [*made, self._report()] if self.facts.is_reported else made

    def _data(self) -> list[str]:
        return ["--data", self.run.data or ""]

    def _train(self) -> Step:
        assert self.run.train is not None
        command = ["train", *self._data(), "--output", str(self.run.folder), *flags(self.run.train)]
        inputs: dict[str, Path | str] = {"data": self.content}
        inputs |= {path.name: path for path in self.facts.texts}
        if self.facts.start is not None:
            inputs["train.from"] = self.facts.start.weights
        return self._step("train", [[*command, *self.torch, *self.seed]], inputs, self._supernet_files())

    def _bootstrap(self) -> Step:
        assert self.facts.start is not None
        command = ["bootstrap", "--from", self.run.supernet, *self._data(), "--output", self.supernet]
        inputs: dict[str, Path | str] = {"data": self.content, "supernet": self.facts.start.weights}
        return self._step("bootstrap", [[*command, *self.seed]], inputs, self._supernet_files())

    def _supernet_files(self) -> tuple[Path, ...]:
        return self.files.weights, self.files.card, self.files.calibration, self.files.held_out

    def _images(self) -> Mapping[str, Path | str]:
        """What the accuracy of a subnet depends on, beside the images that it is counted on."""
        return {"supernet": self.files.weights, "calibration": self.files.calibration}

    def _collect(self, table: CollectTable) -> Step:
        collect = ["predictor", "collect", "--supernet", self.supernet, *self._data()]
        options = [*flags(table, without=("count", "near_front")), *self.torch, *self.seed]
        commands = [[*collect, "--count", str(table.count), *options]]
        if table.near_front:
            near = [*collect, "--count", str(table.near_front), "--near-front", *options]
            commands += [self._fit_command(), near]
        inputs = {**self._images(), "data": self.content}
        return replace(self._step("collect", commands, inputs, (self.files.samples,)), grows=True)

    def _fit_command(self) -> list[str]:
        kind = [] if self.run.kind is None else ["--kind", self.run.kind]
        return ["predictor", "fit", "--supernet", self.supernet, *kind, *self.seed]

    def _fit(self) -> Step:
        inputs = {"supernet": self.files.weights, "samples": self.files.samples}
        return self._step("fit", [self._fit_command()], inputs, (self.files.predictor,))

    def _profile(self) -> Step:
        search = self.run.search
        command = ["profile", "--device", search.device or "", "--supernet", self.supernet]
        command += ["--threads", str(search.threads), "--output", str(self.table), *self.precision]
        command += ["--unless-fresh"] if self.takes_fresh else []
        inputs = {"search space": self.facts.space.digest}
        return self._step(
            "profile", [[*command, *flags(self.run.profile), *self.seed]], inputs, (self.table,)
        )

    def _predictions(self) -> dict[str, Path | str]:
        """What is predicted depends on these."""
        found: dict[str, Path | str] = {"supernet": self.files.weights, "predictor": self.files.predictor}
        if self.facts.table is not None:
            found["table"] = digest_of_table(self.facts.table)
        elif self.has_table:
            found["table"] = self.table
        return found

    def _device(self) -> list[str]:
        return ["--device", str(self.table)] if self.has_table else []

    def _threads(self) -> list[str]:
        return ["--threads", str(self.run.search.threads)]

    def _search(self) -> Step:
        table = self.run.search
        command = ["search", "--supernet", self.supernet, *self._device()]
        command += [*self.precision, *flags(table, without=("device", "measure", "contest", "threads"))]
        inputs = self._predictions()
        if self.has_table and self.facts.address:
            command += ["--measure", self.facts.address]
        if table.contest:
            command += self._data()
            inputs |= {**self._images(), "data": self.content}
        command += [*(self._threads() if self.has_table else ()), *self.seed]
        return self._step("search", [command], inputs, (self._at(SEARCH),))

    def _export(self) -> Step:
        command = ["export", ARCHITECTURE, "--supernet", self.supernet, "--output", str(self._at(SUBNET))]
        inputs = {**self._predictions(), **self._images(), "held-out images": self.files.held_out}
        command += flags(self.run.export, without=("precision",) if self.run.export.precision == FP32 else ())
        if self.run.export.precision == self.run.export.predicted:  # else no table tells what it takes
            command += self._device()
        command += [*self._threads(), *self.seed]
        return self._step("export", [command], inputs, (self._at(SUBNET),))

    def _verify(self) -> Step:
        command = ["verify", str(self._at(SUBNET)), "--supernet", self.supernet]
        for name, text in self.run.search.budgets.items():
            if name != "latency" or self.facts.address:
                command += [f"--{name.replace('_', '-')}", text]
        if self.run.search.accuracy is not None:
            command += ["--accuracy", self.run.search.accuracy]
        if self.facts.address:
            command += ["--device", self.facts.address]
        inputs = {SUBNET: self._at(SUBNET), **self._images(), "held-out images": self.files.held_out}
        return self._step("verify", [[*command, *self._threads()]], inputs, (self._at(VERIFICATION),))

    def _report(self) -> Step:
        inputs = {name: self._at(name) for name in (SEARCH, VERIFICATION)}
        return self._step("report", [["report", str(self.run.folder)]], inputs, (self._at(REPORT),))

    def _at(self, name: str) -> Path:
        return self.run.folder / name

    @staticmethod
    def _step(
        name: str, commands: list[list[str]], inputs: Mapping[str, Path | str], outputs: tuple[Path, ...]
    ) -> Step:
        return Step(name, tuple(map(tuple, commands)), inputs, outputs)


def keep_table(table: LatencyTable, folder: Path) -> None:
    """Have a latency table in a run folder; one that says the same stays as it is."""
    path = folder / TABLE
    if digest_of(path) != digest_of_table(table):
        table.save(path)


def digest_of_table(table: LatencyTable) -> str:
    """Digest of what a latency table says."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / TABLE
        table.save(path)
        return digest_of(path)


def document_of(step: Step, part: int, folder: Path) -> Path:
    """Where the JSON document of a command of a step is kept."""
    if step.name == "search":
        return folder / SEARCH
    if step.name == "verify":
        return folder / VERIFICATION
    number = f"-{part + 1}" if len(step.commands) > 1 else ""
    return folder / "steps" / f"{step.name}{number}.json"
