"""`ofa-nas run`: from images to a checked ONNX file, by one run file and in one folder."""

import argparse
import contextlib
import os
import shlex
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofa_nas.errors import ConfigError

if TYPE_CHECKING:
    from ofa_nas.pipeline.running.run_check import Facts
    from ofa_nas.pipeline.running.run_file import RunFile
    from ofa_nas.pipeline.running.run_folder import RunFolder, Step, StepRecord


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `run`."""
    parser.add_argument("file", type=Path, metavar="FILE", help="run file, such as run.toml")
    parser.add_argument(
        "--from",
        dest="start",
        metavar="STEP",
        help="redo this step and all after it, even if they are up to date",
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would be done, and stop")


@dataclass(slots=True)
class Told:
    """What became of a step.

    Attributes:
        name: Of the step.
        state: `done`, `skipped`, or with `--dry-run` `to do`.
        why: It was run, or nothing.
        commands: As one would type them.
        seconds: That it took now [s].
    """

    name: str
    state: str
    why: str
    commands: list[str]
    seconds: float = 0.0


def run(args: argparse.Namespace) -> int:
    """Do every step whose inputs have changed; status 1 where the file breaks a promise."""
    from ofa_nas.data.dataset import ROOT_VARIABLE
    from ofa_nas.pipeline.running.run_check import check_run
    from ofa_nas.pipeline.running.run_file import RunFile
    from ofa_nas.pipeline.running.run_folder import RunFolder

    if not args.file.is_file():
        raise ConfigError(f"{args.file}: no such run file; docs/run.md shows one")
    if args.json_file is not None:
        args.json_file = args.json_file.absolute()
    for name in (ROOT_VARIABLE, "XDG_CACHE_HOME"):  # relative ones begin where the user is
        if os.environ.get(name):
            os.environ[name] = str(Path(os.environ[name]).absolute())
    with contextlib.chdir(args.file.parent):  # relative paths in the file begin at its folder
        found = RunFile.read(Path(args.file.name))
        facts = check_run(found)
        folder = RunFolder(found.folder)
        return _Run(args, found, facts, folder).status()


class _Run:
    """One call of the command."""

    def __init__(
        self, args: argparse.Namespace, file: "RunFile", facts: "Facts", folder: "RunFolder"
    ) -> None:
        self.args, self.file, self.facts, self.folder = args, file, facts, folder
        self.told: list[Told] = []

    def status(self) -> int:
        """Plan, then tell or do."""
        from ofa_nas.pipeline.running.flow import keep_table

        if self.args.dry_run:
            self._plan(self._steps())
            self._tell()
            return 0
        if not hasattr(os, "setpgid"):
            raise ConfigError(
                "ofa-nas run: this system has no process groups (Windows): type the commands that --dry-run "
                "lists, one by one"
            )
        with self.folder.locked() as lock:
            steps = self._steps()
            self.folder.save(settings=self._settings())
            if self.facts.table is not None:
                keep_table(self.facts.table, self.file.folder)
            for step in steps:
                self._do(step, steps, lock)
        self._tell()
        return 0 if self._is_met else 1

    def _steps(self) -> "list[Step]":
        from ofa_nas.pipeline.running.flow import STEPS, plan_steps

        is_anew = self.args.start in STEPS[: STEPS.index("profile") + 1]  # whatever is done
        steps = plan_steps(self.file, self.facts, content=self._content(), is_anew=is_anew)
        names = [step.name for step in steps]
        if self.args.start is not None and self.args.start not in names:
            raise ConfigError(f"--from {self.args.start[:60]}: the steps are {', '.join(names)}")
        return steps

    def _content(self) -> str:
        """Digest of the images, which are read only when their files look changed."""
        from ofa_nas.cli.console import progress
        from ofa_nas.pipeline.running.run_check import listing_of, read_content

        if self.facts.data is None:
            return ""
        listing = listing_of(self.facts.data)
        if listing != self.folder.listing:
            with progress("reading images", total=None, quiet=self.args.json) as bar:
                for record in read_content(self.facts.data):
                    bar.move_to(record.done, total=record.total)
            self.folder.listing, self.folder.content = listing, record.digest
        return self.folder.content

    def _settings(self) -> dict[str, Any]:
        return {**asdict(self.file), "path": str(self.file.path), "folder": str(self.file.folder)}

    def _is_forced(self, step: "Step", steps: "list[Step]") -> bool:
        names = [one.name for one in steps]
        return self.args.start is not None and names.index(step.name) >= names.index(self.args.start)

    def _plan(self, steps: "list[Step]") -> None:
        """Tell what would be done: what depends on a step that is to be run follows it."""
        from ofa_nas.pipeline.running.flow import SEARCH, with_choice

        coming: dict[Path, str] = {}
        for plain in steps:
            step = with_choice(plain, self.file.folder / SEARCH)
            after = [coming[path] for path in step.inputs.values() if path in coming]
            if step != plain and "search" in coming.values():
                after.append("search")  # another architecture, maybe
            why = "asked for" if self._is_forced(step, steps) else self.folder.why(step)
            why = why or (f"follows {after[-1]}" if after else "")
            if why:
                coming |= dict.fromkeys(step.outputs, step.name)
            commands = plain.commands if "search" in coming.values() else step.commands
            self.told.append(Told(step.name, "to do" if why else "skipped", why, _typed(commands)))

    def _do(self, step: "Step", steps: "list[Step]", lock: int) -> None:
        from ofa_nas.pipeline.running.flow import SEARCH, with_choice

        step = with_choice(step, self.file.folder / SEARCH)
        is_forced = self._is_forced(step, steps)
        why = "asked for" if is_forced else self.folder.why(step)
        told = Told(step.name, "done" if why else "skipped", why, _typed(step.commands))
        self.told.append(told)
        self._say(told)
        if why:
            began = time.monotonic()
            self._run_step(step, lock, is_forced=is_forced)
            told.seconds = time.monotonic() - began

    def _run_step(self, step: "Step", lock: int, *, is_forced: bool) -> None:
        from ofa_nas.pipeline.running.flow import document_of
        from ofa_nas.pipeline.running.run_folder import StepRecord

        before = None if is_forced else self.folder.steps.get(step.name)
        record = StepRecord.begin(step, seed=self.file.seed, before=before)
        self._make_room(step, is_new=before is None or not before.is_same(step))
        for part in range(record.parts, len(step.commands)):
            self._remember(step, record)
            began = time.monotonic()
            document = document_of(step, part, self.file.folder)
            status = self._run_command(step.commands[part], document, lock)
            seconds = record.seconds + time.monotonic() - began
            record = replace(record, parts=part + 1, status=status, seconds=seconds)
        self._remember(step, record.finish(step))

    def _remember(self, step: "Step", record: "StepRecord") -> None:
        self.folder.steps[step.name] = record
        self.folder.save(settings=self._settings())

    def _make_room(self, step: "Step", *, is_new: bool) -> None:
        """Before a supernet is made from the beginning, move the one that is there out of its way."""
        from ofa_nas.cli.console import err
        from ofa_nas.training.output_folder import CHECKPOINT

        if not is_new or step.name not in ("train", "bootstrap"):
            return
        checkpoint = self.file.folder / CHECKPOINT
        if checkpoint.exists() and not {"train", "bootstrap"} & self.folder.steps.keys():
            raise ConfigError(
                f"{self.file.folder} holds a training that no run began: name another folder, or begin with "
                'supernet = ".../supernet.safetensors"'
            )
        moved = self.folder.set_training_aside()
        if moved is not None and not self.args.json:
            err.print(f"moved the supernet that was there to {moved}", markup=False)

    def _run_command(self, command: "tuple[str, ...]", document: Path, lock: int) -> int:
        """Run one command; its exit status is 0, or 1 where it left its document all the same.

        Raises:
            ConfigError: It was refused or killed; it has said why.
        """
        from ofa_nas.cli.console import err
        from ofa_nas.cli.step_run import run_process
        from ofa_nas.training.output_folder import CHECKPOINT

        words = list(command)
        if command[0] == "train" and (self.file.folder / CHECKPOINT).exists():
            words.append("--resume")
        words += ["--json-file", str(document), *(["--json"] if self.args.json else [])]
        document.unlink(missing_ok=True)
        try:
            status = run_process(words, lock=lock, is_quiet=self.args.json)
        except KeyboardInterrupt:
            err.print(f"stopped in {command[0]}; the same ofa-nas run goes on there", markup=False)
            raise
        if status == 0 or (status == 1 and document.exists()):
            return status
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        raise ConfigError(f"{command[0]} {how}; the same ofa-nas run goes on there")

    @property
    def _is_met(self) -> bool:
        return all(self.folder.steps[one.name].status == 0 for one in self.told)

    def _say(self, told: Told) -> None:
        from ofa_nas.cli.console import out

        if not self.args.json:
            what = "skipped: nothing has changed" if told.state == "skipped" else f"running: {told.why}"
            out.print(f"[bold]{told.name:<10}[/bold]{what}")

    def _tell(self) -> None:
        from ofa_nas.cli.console import give_document, out

        document = {
            "folder": str(self.file.folder),
            "steps": [asdict(one) for one in self.told],
            "is_met": None if self.args.dry_run else self._is_met,
        }
        if give_document(self.args, document):
            return
        if self.args.dry_run:
            self._show_plan()
        else:
            verdict = "every promise kept" if self._is_met else "[red]a promise is broken[/red]"
            out.print(f"[bold]{'run':<10}[/bold]{self.file.folder}: {verdict}")

    def _show_plan(self) -> None:
        from ofa_nas.cli.console import out

        for one in self.told:
            out.print(f"[bold]{one.name:<10}[/bold]{one.state}{f': {one.why}' if one.why else ''}")
            for command in one.commands:
                out.print(f"          {command}", markup=False)


def _typed(commands: "tuple[tuple[str, ...], ...]") -> list[str]:
    return [shlex.join(("ofa-nas", *command)) for command in commands]
