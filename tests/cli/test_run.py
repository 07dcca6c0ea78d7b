"""`ofa-nas run`: one file, one folder; killed at any moment it goes on; nothing is done twice."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

import ofa_nas
from ofa_nas.cli import build_parser
from ofa_nas.devices import open_device
from ofa_nas.export.interface import LARGEST_BATCH
from ofa_nas.latency.shelf import named_table_path
from ofa_nas.pipeline.running.flow import STEPS, plan_steps
from ofa_nas.pipeline.running.run_check import check_run
from ofa_nas.pipeline.running.run_file import RunFile
from ofa_nas.space.search_space import SearchSpace
from tests.cli.conftest import Command
from tests.pipeline.simulated_board import simulated_table
from tests.small_supernet import SmallSupernet, exact_table, write_images

ROOT = Path(ofa_nas.__file__).parents[1]
WHOLE = """
data = "shapes"
seed = 3
threads = 1

[train]
space = "tiny"
epochs = 4
batch_size = 20
learning_rate = 0.1
held_out = 10
checkpoint_minutes = 0

[collect]
count = 10
near_front = 2
images = 40

[profile]
rounds = 1
resolution = [24]

[export]
precision = "int8"

[search]
device = "host"
latency = "1s"
finalists = 1
"""
Refused = Callable[..., str]


def start(file: Path, cache: Path) -> "subprocess.Popen[bytes]":
    """Start a run in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cache)}
    return subprocess.Popen(
        [sys.executable, "-m", "ofa_nas", "run", str(file)],
        cwd=file.parent,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def wait_until(is_true: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 240.0
    while not is_true():
        assert process.poll() is None, process.communicate()[0].decode()
        assert time.monotonic() < deadline, "nothing happened for four minutes"
        time.sleep(0.02)


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed in its training, interrupted in its collecting, and then went to its end."""
    root = tmp_path_factory.mktemp("flow")
    write_images(root / "shapes", train=12, val=8)
    file = root / "whole.toml"
    file.write_text(WHOLE)
    folder = root / "runs" / "whole"

    process = start(file, root / "cache")
    wait_until((folder / "checkpoint.safetensors").exists, process)
    process.kill()
    process.communicate()  # its step holds the other end until it has noticed
    assert process.returncode == -signal.SIGKILL
    assert not (folder / "supernet.safetensors").exists()

    process = start(file, root / "cache")
    wait_until(lambda: lines_of(folder / "supernet.samples.jsonl") >= 3, process)
    process.send_signal(signal.SIGTERM)
    told = process.communicate()[0].decode()
    assert process.returncode == 128 + signal.SIGTERM, told
    assert "was interrupted" in told  # the training
    assert lines_of(folder / "supernet.samples.jsonl") < 12

    process = start(file, root / "cache")
    told = process.communicate()[0].decode()
    assert process.returncode == 0, told
    assert "train     skipped" in told
    assert "collect   running: was interrupted" in told
    assert "every promise kept" in told
    return file


def states(document: dict[str, Any]) -> dict[str, str]:
    return {step["name"]: step["why"] or step["state"] for step in document["steps"]}


@pytest.mark.slow
def test_a_run_that_was_killed_makes_what_an_undisturbed_one_makes(
    killed: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = killed.parent / "runs" / "whole"
    monkeypatch.chdir(killed.parent)
    options = "--space tiny --epochs 4 --batch-size 20 --learning-rate 0.1 --held-out 10 --threads 1 --seed 3"
    trained = command("train", "--data", "shapes", "--output", tmp_path / "alone", *options.split())
    assert trained.status == 0
    weights = (tmp_path / "alone" / "supernet.safetensors").read_bytes()
    assert (folder / "supernet.safetensors").read_bytes() == weights
    samples = [json.loads(line) for line in (folder / "supernet.samples.jsonl").read_text().splitlines()]
    assert len({sample["arch"] for sample in samples}) == len(samples) >= 10


@pytest.mark.slow
def test_the_folder_holds_everything_and_says_how_it_came(killed: Path, command: Command) -> None:
    folder = killed.parent / "runs" / "whole"
    for name in (
        "table.json",
        "subnet.onnx",
        "report.html",
        "supernet.predictor.json",
        "supernet.heldout.npz",
    ):
        assert (folder / name).is_file(), name
    verification = json.loads((folder / "verification.json").read_text())
    assert verification["is_met"]
    assert ", int8 subnet " in command("show", folder / "subnet.onnx").text
    assert {"accuracy", "latency", "file_size"} <= {check["quantity"] for check in verification["checks"]}
    search = json.loads((folder / "search.json").read_text())
    assert search["architecture"] == verification["architecture"]
    record = json.loads((folder / "run.json").read_text())
    assert record["settings"]["search"]["latency"] == "1s"
    assert {step["state"] for step in record["steps"].values()} == {"done"}
    assert all(step["made_by"]["made_on"] for step in record["steps"].values())
    assert not list(folder.glob(".*.tmp"))


@pytest.mark.slow
def test_one_file_led_to_a_verified_int8_file_and_a_report_that_a_browser_opens(killed: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium: apt-get install chromium")
    folder = killed.parent / "runs" / "whole"
    assert 'precision = "int8"' in killed.read_text()
    model = onnx.load(folder / "subnet.onnx")
    assert "QuantizeLinear" in {node.op_type for node in model.graph.node}
    verification = json.loads((folder / "verification.json").read_text())
    assert verification["is_met"]
    checked = {check["quantity"] for check in verification["checks"]}
    assert {"agreement", "accuracy_drop", "accuracy", "latency", "peak_memory"} <= checked
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000"]
    page = (folder / "report.html").as_uri()
    command = [chromium, *options, "--enable-logging=stderr", "--dump-dom", page]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "CONSOLE" not in shown.stderr  # no error, no warning, nothing that the page's policy refused
    body = shown.stdout[shown.stdout.index("<body") :]
    assert 'class="main-svg"' in body  # its script has drawn
    assert verification["architecture"] in body
    assert "int8" in body


@pytest.mark.slow
def test_what_has_not_changed_is_skipped_and_what_has_takes_along_what_depends_on_it(
    killed: Path, command: Command
) -> None:
    folder = killed.parent / "runs" / "whole"
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.*")}
    again = command("run", killed, "--json")
    assert again.status == 0
    assert set(states(again.document).values()) == {"skipped"}
    after = {path: path.stat().st_mtime_ns for path in folder.glob("*.*")}
    assert {path.name for path in before if before[path] != after[path]} <= {"run.json"}

    for path in sorted((killed.parent / "shapes" / "val").rglob("*.png")):
        path.touch()  # the same images, though their files look changed
    killed.write_text(WHOLE.replace('latency = "1s"', 'latency = "2s"\npeak_memory = "1MB"'))
    change = "latency was 1s, now it is 2s"
    same = dict.fromkeys(("train", "collect", "fit", "profile"), "skipped")
    planned = states(command("run", killed, "--dry-run", "--json").document)
    assert planned == {
        **same,
        "search": change,
        "export": "follows search",
        "verify": change,
        "report": "follows verify",
    }
    (folder / "supernet.heldout.npz").rename(folder / "gone")
    assert states(command("run", killed, "--dry-run", "--json").document)["train"] == (
        "supernet.heldout.npz is missing"
    )
    (folder / "gone").rename(folder / "supernet.heldout.npz")
    done = command("run", killed, "--json")
    assert done.status == 0
    later = {"export": "skipped", "report": "search.json, verification.json changed"}
    assert states(done.document) == {**planned, **later}  # another search, the same subnet
    assert set(states(command("run", killed, "--json").document).values()) == {"skipped"}


@pytest.mark.slow
def test_a_step_can_be_asked_for(killed: Path, command: Command) -> None:
    plan = command("run", killed, "--dry-run", "--from", "verify").text
    assert "export skipped" in plan
    assert "verify to do: asked for ofa-nas verify runs/whole/subnet.onnx" in plan


@pytest.mark.slow
def test_a_training_that_no_longer_fits_is_moved_aside_and_never_overwritten(
    killed: Path, command: Command
) -> None:
    folder = killed.parent / "runs" / "whole"
    weights = (folder / "supernet.safetensors").read_bytes()
    killed.write_text(
        WHOLE.replace("epochs = 4", "epochs = 1").replace("batch_size = 20", "batch_size = 999")
    )
    printed = command("run", killed)
    assert printed.status == 1
    assert "moved the supernet that was there to" in printed.err
    assert "train ended with status 1; the same ofa-nas run goes on there" in printed.err
    assert (folder / "superseded-1" / "supernet.safetensors").read_bytes() == weights
    assert (folder / "superseded-1" / "checkpoint.safetensors").is_file()
    assert not (folder / "supernet.safetensors").exists()


@pytest.mark.slow
def test_a_run_begins_with_a_supernet_that_exists(
    command: Command, small: SmallSupernet, tmp_path: Path
) -> None:
    file = tmp_path / "short.toml"
    file.write_text(f'supernet = "{small.name}"\n[search]\nobjective = "macs"\naccuracy = "100%"\n')
    refused = command("run", file)
    assert refused.status == 1
    assert refused.err.splitlines()[-1].startswith("error: search ended with status 1")
    file.write_text(f'supernet = "{small.name}"\n[search]\ndevice = "rpi4"\nlatency = "1s"\n')
    printed = command("run", file, "--json")
    assert [step["name"] for step in printed.document["steps"]] == ["search", "export", "verify", "report"]
    assert printed.status == 0
    assert printed.document["is_met"]
    assert (
        json.loads((tmp_path / "runs" / "short" / "search.json").read_text())["devices"][0]["name"] == "rpi4"
    )


@pytest.fixture
def short(small: SmallSupernet, tmp_path: Path) -> Callable[..., Path]:
    """Writes a run file; the data and the supernet of the tests are `{data}` and `{supernet}` in it."""

    def write(text: str) -> Path:
        file = tmp_path / "run.toml"
        file.write_text(text.replace("{data}", str(small.data)).replace("{supernet}", small.name))
        return file

    return write


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "run.toml: search: is missing"),
        ("[search]\n[search]", "run.toml: not valid TOML"),
        (
            "[search]\nlatenzy = '1ms'",
            "run.toml: search.latenzy: is not known here; known keys: accuracy, contest, device, ",
        ),
        ("[search]\nlatency = 5", "run.toml: search.latency: expected a string, got 5"),
        ("[search]\nlatency = '1ms'", "run.toml: search.device: is missing: a latency is one of a device"),
        ("[search]\nmacs = '1,2M'", "run.toml: search.macs: 1,2M: a run ends in one file"),
        ("[search]\nmacs = '1k'", "run.toml: search: MACs ≤ 1 k MACs cannot be met"),
        (
            "[search]\ndevice = 'rpi4'\nlatency = '1ms'",
            "run.toml: search: latency on rpi4 ≤ 1 ms cannot be met",
        ),
        ("[search]\nmacs = 'lots'", "run.toml: search.macs: --macs 'lots': expected MACs such as 200M"),
        ("[search]\ndevice = 'toaster'", "run.toml: search.device: toaster: no such latency table"),
        ("[search]\ndevice = 'ssh://-oProxyCommand=x'", "run.toml: search.device: 'ssh://-oProxyCommand"),
        ("[search]\nthreads = 4", "run.toml: search.threads: are ONNX Runtime's on a device: add search.dev"),
        ("[search]\nmethod = 'luck'", "run.toml: search.method: "),
        ("[search]\nobjective = 'latency'", "run.toml: search.accuracy: is reached at the least of"),
        ("[search]\nfinalists = 3", "run.toml: search.finalists: are timed on a device"),
        (
            "[search]\nfinalists = 3\nmeasure = 'host'",
            "run.toml: search.finalists: are timed on a device, or evaluated; give its table as",
        ),
        ("[search]\ncontest = true", "run.toml: data: is missing"),
        ("[search]\n[profile]\nrounds = 3", "run.toml: profile: nothing is measured"),
        ("[search]\n[export]\nprecision = 'int4'", "run.toml: export.precision: expected one of fp32, fp16,"),
        ("[search]\n[export]\nbatch = 'all'", "run.toml: export.batch: expected one of dynamic, got 'all'"),
        (
            f"[search]\n[export]\nbatch = {LARGEST_BATCH + 1}",
            f"run.toml: export.batch: expected an integer from 1 to {LARGEST_BATCH}, got",
        ),
        (
            "[search]\ndevice = 'rpi4'\nlatency = '1s'\n[export]\nbatch = 8",
            "run.toml: export.batch: 8: a search limits the latency of one image at a time: leave out",
        ),
        ("folder = 'a\\u0000b'\n[search]".replace("'", '"'), "run.toml: folder: expected a string without"),
        (
            f"folder = '{'x' * 300}'\n[search]",
            f"run.toml: folder: {'x' * 300}: cannot be written: File name too long",
        ),
        ("seed = -1\n[search]", "run.toml: seed: expected an integer from 0"),
        (
            "supernet = 'x'\n[train]\n[search]",
            "run.toml: supernet: a run begins with a supernet or with [train]",
        ),
        ("supernet = 'nope'\n[search]", "run.toml: supernet: nope: no such supernet"),
        (
            "supernet = 'ofa-imagenet'\n[search]",
            "run.toml: supernet: ofa-imagenet: this supernet comes without",
        ),
        ("[train]\n[search]", "run.toml: data: is missing: training, collecting"),
        ("data = 'nowhere'\n[train]\n[search]", "run.toml: data: data 'nowhere': no such folder"),
        ("data = '{data}'\n[collect]\n[search]", "run.toml: data: the data have 10 classes"),
        ("data = '{data}'\n[train]\nepochs = -1\n[search]", "run.toml: train.epochs: expected a number from"),
        (
            "data = '{data}'\n[train]\nfit = 'in'\n[search]",
            "run.toml: train.fit: expected one of crop, pad, ",
        ),
        ("data = '{data}'\n[train]\nrecipe = 'stew'\n[search]", "run.toml: train.recipe: recipe 'stew'"),
        (
            "data = '{data}'\n[train]\nflip = 'up'\n[search]",
            "run.toml: train.flip: expected one of horizontal, none, both, got 'up'",
        ),
        ("data = '{data}'\n[train]\nbalance = 2\n[search]", "run.toml: train.balance: expected a number"),
        (
            "data = '{data}'\n[train]\ndevice = 'gpu'\n[search]",
            "run.toml: train.device: expected auto, cpu, cuda or cuda:N, got 'gpu'",
        ),
        (
            "data = '{data}'\n[train]\nfrom = 'stone'\n[search]",
            "run.toml: train.from: stone: no such start; supernets: efficientnet_lite, or",
        ),
        (
            "data = '{data}'\n[train]\nspace = 'outer'\n[search]",
            "run.toml: train.space: outer: no such search",
        ),
        (
            "data = '{data}'\n[train]\nfrom = 'net.pth'\n[search]",
            "run.toml: train.from: net.pth: does not ship, and as a module",
        ),
        ("data = '{data}'\n[train]\n[fit]\nkind = 'tea'\n[search]", "run.toml: fit.kind: "),
        (
            "data = '{data}'\n[train]\n[collect]\ncount = 3\n[search]",
            "run.toml: collect.count: expected an integer from 8 to",
        ),
        ("data = '{data}'\n[train]\n[collect]\nuntil = 'x'\n[search]", "run.toml: collect.until: --until x"),
    ],
)
def test_a_wrong_file_is_refused_by_its_key_before_anything_begins(
    text: str, told: str, short: Callable[..., Path], refused: Refused, tmp_path: Path
) -> None:
    assert told in refused("run", short(text))
    assert [path.name for path in tmp_path.iterdir()] == ["run.toml"]


@pytest.mark.parametrize(
    ("key", "text", "told"),
    [
        ("search.method", "[search]\nmethod = '{module}'", "not a search method: the module lacks search"),
        ("search.device", "[search]\ndevice = '{module}://x'", "no device"),
        ("search.measure", "[search]\nmeasure = '{module}://x'", "no device"),
        (
            "fit.kind",
            "[search]\n[fit]\nkind = '{module}'",
            "not a predictor: the module lacks fit, from_json",
        ),
        (
            "train.from",
            "data = '{data}'\n[train]\nfrom = '{module}'\n[search]",
            "not a pretrained network: the module lacks SPACE",
        ),
        ("data", "data = '{module}'\n[train]\n[search]", "not a data set: the module lacks"),
        ("data", "data = '{module}@64/32'\n[train]\n[search]", "not a data set: the module lacks"),
        ("data", "data = '{module}={data}'\n[train]\n[search]", "not a data set: the module lacks"),
    ],
)
def test_a_module_that_a_run_file_names_is_run_only_if_the_user_trusts_it(
    key: str,
    text: str,
    told: str,
    short: Callable[..., Path],
    refused: Refused,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lab, tripwire = f"lab_{tmp_path.name.replace('-', '_')}", tmp_path / "tripwire"
    (tmp_path / lab).mkdir()
    (tmp_path / lab / "mine.py").write_text(f"from pathlib import Path\nPath({str(tripwire)!r}).touch()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    file = short(text.replace("{module}", f"{lab}.mine"))
    message = refused("run", file, "--dry-run")
    assert (
        f"run.toml: {key}: {lab}.mine: does not ship, and as a module it is not trusted: $OFA_NAS_" in message
    )
    assert not tripwire.exists()
    monkeypatch.setenv("OFA_NAS_PLUGINS", lab)
    assert told in refused("run", file, "--dry-run")
    assert tripwire.exists()


def test_relative_folders_of_the_environment_begin_where_the_user_is(
    short: Callable[..., Path], refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("OFA_NAS_DATA", "sets")
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    file = short("data = 'tiny_imagenet'\n[train]\n[search]")
    assert f"data tiny_imagenet: not in {here / 'sets'}" in refused("run", file)
    assert os.environ["XDG_CACHE_HOME"] == str(here / "cache")  # of every step, in its own process


def test_there_is_no_run_without_a_file(refused: Refused, tmp_path: Path) -> None:
    assert f"{tmp_path / 'no.toml'}: no such run file" in refused("run", tmp_path / "no.toml")


def test_a_plan_is_told_and_nothing_is_done(
    command: Command, refused: Refused, short: Callable[..., Path], tmp_path: Path
) -> None:
    file = short("data = '{data}'\n[train]\nspace = 'tiny'\n[search]\ndevice = 'host'\nlatency = '3ms'")
    planned = command("run", file, "--dry-run", "--json")
    assert planned.status == 0
    assert [step["name"] for step in planned.document["steps"]] == [
        step for step in STEPS if step != "bootstrap"
    ]
    assert {step["state"] for step in planned.document["steps"]} == {"to do"}
    text = command("run", file, "--dry-run").text
    assert "ofa-nas predictor collect --supernet runs/run/supernet.safetensors --data" in text
    assert "search to do: never done ofa-nas search" in text
    assert [path.name for path in tmp_path.iterdir()] == ["run.toml"]
    assert "--from dinner: the steps are train, collect" in refused("run", file, "--from", "dinner")


def planned(command: Command, file: Path, step: str, *options: str) -> str:
    """The command of a step, as it is planned."""
    steps = command("run", file, "--dry-run", "--json", *options).document["steps"]
    (found,) = [one["commands"] for one in steps if one["name"] == step]
    return str(found[0])


def test_a_fresh_table_is_taken_unless_the_file_or_the_user_asks_for_a_measurement(
    command: Command, short: Callable[..., Path]
) -> None:
    text = "supernet = '{supernet}'\n[search]\ndevice = 'host'\nlatency = '1s'\n"
    assert " --unless-fresh " in planned(command, short(text), "profile")
    for start, is_taken in (("profile", False), ("search", True)):
        assert ("--unless-fresh" in planned(command, short(text), "profile", "--from", start)) is is_taken
    for key in ("rounds = 10", "clock = 'wall'", "resolution = [24, 32]"):
        assert "--unless-fresh" not in planned(command, short(f"{text}[profile]\n{key}\n"), "profile")


@pytest.mark.slow
def test_runs_on_a_device_share_its_table(
    command: Command, small: SmallSupernet, tmp_path: Path, tiny: SearchSpace
) -> None:
    table, here = simulated_table(), open_device("host").info()
    assert table.measured
    held = replace(table.measured, environment=here.environment)
    device = replace(table.device, runtime=here.runtime)
    replace(table, name="host", device=device, held=held).save(named_table_path(tiny, "host"))
    file = tmp_path / "short.toml"
    file.write_text(f'supernet = "{small.name}"\n[search]\ndevice = "host"\nlatency = "1s"\n')
    printed = command("run", file, "--json")
    assert printed.status == 0, printed.err
    kept = tmp_path / "runs" / "short" / "table.json"
    assert kept.read_bytes() == named_table_path(tiny, "host").read_bytes()
    document = command("run", file, "--dry-run", "--json").document
    assert {step["state"] for step in document["steps"]} == {"skipped"}


def test_where_steps_cannot_be_processes_of_their_own_the_plan_still_is_told(
    command: Command, refused: Refused, short: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = short("supernet = 'efficientnet_lite'\n[search]\nmacs = '1G'")
    monkeypatch.delattr("os.setpgid")
    assert "this system has no process groups (Windows): type the commands that --dry-run" in refused(
        "run", file
    )
    assert [path.name for path in file.parent.iterdir()] == ["run.toml"]
    assert command("run", file, "--dry-run").status == 0


def test_a_contest_says_how_many_are_evaluated_without_a_device(
    command: Command, short: Callable[..., Path]
) -> None:
    file = short(
        "data = '{data}'\n[train]\nspace = 'tiny'\n[search]\nmacs = '1M'\ncontest = true\nfinalists = 3\n"
        "seeds = 2"
    )
    text = command("run", file, "--dry-run").text
    assert "--finalists 3" in text
    assert "--seeds 2" in text
    assert "--data" in text.split("ofa-nas search")[1]


def test_search_and_export_depend_on_what_the_table_says_that_was_named(
    short: Callable[..., Path], tiny: SearchSpace, tmp_path: Path
) -> None:
    path, told = tmp_path / "board.json", []
    file = short(f"supernet = '{{supernet}}'\n[search]\ndevice = '{path}'\nlatency = '1s'\n")
    for note in ("as it was", "measured anew"):
        replace(exact_table(tiny), notes=(note,)).save(path)
        run = RunFile.read(file)
        steps = {step.name: step.inputs for step in plan_steps(run, check_run(run), content="x")}
        assert steps["search"]["table"] == steps["export"]["table"]
        told.append(steps["search"]["table"])
    assert told[0] != told[1]


def test_every_planned_command_is_one_that_the_commands_take(
    short: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    file = short(
        "data = '{data}'\nthreads = 2\nseed = 5\n"
        "[train]\nspace = 'tiny'\nfrom = '{supernet}'\nrecipe = 'shrink'\nepochs = 1\nbatch_size = 8\n"
        "learning_rate = 0.1\nrandom_subnets = 2\ncrop_scale = 0.5\nflip = 'none'\n"
        "brightness = 0.0\nsaturation = 0.25\nbalance = 0.5\nimage_size = 32\nheld_out = 5\nfit = 'pad'\n"
        "checkpoint_minutes = 1\ntensorboard = true\ndevice = 'cpu'\n"
        "[collect]\ncount = 8\nnear_front = 2\nimages = 10\nuntil = 'tau=0.9'\ndevice = 'cpu'\n"
        "[fit]\nkind = 'macs'\n"
        "[export]\nprecision = 'int8'\nbatch = 'dynamic'\npreprocess = true\n"
        "[profile]\nrounds = 2\nresolution = [24]\nclock = 'cpu'\n"
        "[search]\ndevice = 'host'\nlatency = '1ms'\npeak_memory = '1MB'\nmodel_size = '1MB'\nmacs = '1G'\n"
        "objective = 'macs'\naccuracy = '10%'\nmargin = '0.1'\nfinalists = 2\nmethod = 'local'\n"
        "evaluations = 500\nthreads = 1\n"
    )
    run = RunFile.read(file)
    assert run.train is not None
    parsed = {}
    for step in plan_steps(run, check_run(run), content="x"):
        for words in step.commands:
            parsed[words[0]] = build_parser([words[0]]).parse_args(list(words))
    assert (parsed["train"].start, parsed["train"].tensorboard, parsed["train"].threads) == (
        run.train.start,
        True,
        2,
    )
    own = parsed["train"]
    assert (own.flip, own.brightness, own.saturation, own.balance) == ("none", 0.0, 0.25, 0.5)
    assert (parsed["profile"].resolution, parsed["profile"].thread_counts) == ([24], [1])
    assert parsed["search"].devices[-2:] == [("--measure", "host"), ("--threads", "1")]
    assert (parsed["verify"].latency, parsed["verify"].accuracy) == ("1ms", "10%")
    assert {parsed[name].precision for name in ("profile", "search", "export")} == {"int8"}
    assert (parsed["export"].batch, parsed["export"].preprocess) == ("dynamic", True)


@pytest.mark.parametrize(
    ("measure", "address"),
    [
        ("host", "host+openvino"),
        ("host+openvino", "host+openvino"),
        ("ssh+openvino://pi", "ssh+openvino://pi"),
    ],
)
def test_a_file_is_verified_with_the_provider_of_its_table(
    measure: str,
    address: str,
    short: Callable[..., Path],
    refused: Refused,
    tiny: SearchSpace,
    tmp_path: Path,
) -> None:
    table = exact_table(tiny)
    assert table.measured
    protocol = replace(table.measured.protocol, provider="openvino")
    replace(table, held=replace(table.measured, protocol=protocol)).save(tmp_path / "vino.json")
    text = f"supernet = '{{supernet}}'\n[search]\ndevice = '{tmp_path}/vino.json'\nlatency = '1s'\n"
    run = RunFile.read(short(f"{text}measure = '{measure}'"))
    commands = [words for step in plan_steps(run, check_run(run), content="x") for words in step.commands]
    (verify,) = (words for words in commands if words[0] == "verify")
    assert verify[verify.index("--device") + 1] == address
    told = refused("run", short(f"{text}measure = 'host+cuda'"))
    assert "run.toml: search.measure: latency table exact is of openvino, and the address" in told


def test_what_the_commands_can_do_a_run_file_can_ask_for() -> None:
    """An option that is added to a command is added to the run file, or named here."""
    from dataclasses import fields

    from ofa_nas.pipeline.running.run_file import (
        CollectTable,
        ExportTable,
        ProfileTable,
        SearchTable,
        TrainTable,
    )

    frame = {"help", "json", "json_file", "verbose", "supernet", "data", "output", "seed", "threads"}
    frame |= {"window", "hop"}  # a run file names them with its data, NAME@WINDOW/HOP
    tables: dict[str, tuple[type, set[str]]] = {
        "train": (TrainTable, {"resume"}),
        "predictor": (CollectTable, {"action", "kind"}),
        "export": (ExportTable, {"arch", "device"}),
        "profile": (
            ProfileTable,
            {
                "device",
                "name",
                "bundle",
                "collect",
                "provider",
                "space",
                "classes",
                "precision",
                "thread_counts",
                "unless_fresh",  # where the table is empty
            },
        ),
        "search": (
            SearchTable,
            {
                "devices",
                "export",
                "batch",
                "preprocess",
                "report",
                "plot",
                "precision",
                "measured",
                "storage",
                "study",
                "trials",
                "heartbeat",
            },
        ),
    }
    for name, (table, others) in tables.items():
        (parsers,) = (one for one in build_parser([name])._actions if one.dest == "command")
        assert parsers.choices is not None
        parser = dict(parsers.choices)[name]
        asked = {field.name for field in fields(table)} | frame | others
        assert {action.dest for action in parser._actions} <= asked, name
