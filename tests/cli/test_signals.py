"""From recordings of one's own to a checked file: every command takes signals as it takes images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from ofa_nas.cli import main
from ofa_nas.data import Normalization
from ofa_nas.data.augment import to_input
from ofa_nas.data.dataset import open_data
from ofa_nas.data.sample import load_sample
from ofa_nas.errors import ConfigError
from ofa_nas.export.card import ModelCard, read_model
from ofa_nas.export.export import export_subnet
from ofa_nas.pipeline.delivery.deliver import save_model
from ofa_nas.pipeline.running.run_check import check_run
from ofa_nas.pipeline.running.run_file import RunFile
from ofa_nas.pipeline.training.training_run import FoundImages, decode_splits
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.supernet import Supernet
from ofa_nas.supernet_card import SupernetCard, SupernetFiles
from tests.cli.conftest import Command
from tests.small_supernet import SmallSupernet, exact_table
from tests.test_docs import code_blocks

SPACE = """
description = "Two stages for windows of 16 and 24 samples"
resolutions = [16, 24]
classes = 3
channels = 2

[stem]
width = 8
kernel_size = 3
stride = 2
activation = "relu"

[[stages]]
block = "mbconv1d"
width = 8
stride = 1
kernel_sizes = [3, 5]
expand_ratios = [2, 3]
depths = [1, 2]
activation = "relu"

[[stages]]
block = "mbconv1d"
width = 16
stride = 2
kernel_sizes = [3, 5]
expand_ratios = [2, 3]
depths = [1, 2]
activation = "hard_swish"
squeeze_excite = true

[head]
width = 24
activation = "relu"
"""
CLASSES, PEOPLE, LENGTH = 3, 10, 120


def write_recordings(folder: Path) -> None:
    """Ten people who swing slowly, fast, or turn: waves of a person's own strength and phase under noise."""
    rng = np.random.default_rng(5)
    times = np.arange(LENGTH) / 24
    labels = np.tile(np.arange(CLASSES), PEOPLE)
    people = np.repeat(np.arange(PEOPLE), CLASSES)
    waves = np.array([2.0, 5.0, 2.0])[labels]
    phases = rng.uniform(0, 2 * np.pi, PEOPLE * CLASSES)
    angles = 2 * np.pi * waves[:, None] * times + phases[:, None]
    second = np.where((labels == 2)[:, None], np.cos(angles), np.sin(angles))
    signals = np.stack([np.sin(angles), second], axis=1) * rng.uniform(5, 9, (len(labels), 1, 1)) + 40
    folder.mkdir()
    np.savez(
        folder / "signals.npz",
        x=signals + rng.normal(0, 1.0, signals.shape),
        y=labels,
        person=people,
        class_names=np.array(["slow", "fast", "turning"]),
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with recordings, a space, a supernet trained on windows of 24, and its predictor."""
    root = tmp_path_factory.mktemp("signals")
    write_recordings(root / "data")
    (root / "waves.toml").write_text(SPACE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        supernet = str(root / "run" / "supernet.safetensors")
        data, windows = ["--data", str(root / "data")], ["--window", "24", "--hop", "12"]
        space = ["--space", str(root / "waves.toml")]
        size = ["--recipe", "signals", "--epochs", "12", "--batch-size", "32", "--learning-rate", "0.1"]
        assert main(["train", *data, *windows, *space, *size, "--output", str(root / "run")]) == 0
        assert main(["predictor", "collect", "--supernet", supernet, *data, "--count", "20"]) == 0
        assert main(["predictor", "fit", "--supernet", supernet, "--kind", "additive"]) == 0
    exact_table(SupernetCard.load(SupernetFiles.find(supernet).card).space).save(root / "board.json")
    return root


def test_windows_are_called_so(tmp_path: Path) -> None:
    write_recordings(tmp_path / "data")
    found = next(decode_splits(open_data(f"{tmp_path / 'data'}@24/12"), None))
    assert isinstance(found, FoundImages)
    assert found.is_signal


@pytest.mark.slow
def test_a_supernet_learns_people_that_it_never_saw(run: Path, command: Command) -> None:
    supernet = run / "run" / "supernet.safetensors"
    card = SupernetCard.load(SupernetFiles.find(str(supernet)).card)
    assert card.data == "signals@24/12"
    assert (card.space.channels, card.space.classes) == (2, 3)
    assert np.allclose(card.input_mean, 40, atol=1)
    printed = command("evaluate", "--supernet", supernet, "--data", run / "data", "--json")
    results = printed.document["results"]
    assert {one["images"] % (3 * 9) for one in results} == {0}  # windows of 24 by 12, as the supernet's own
    assert results[-1]["accuracy"] > 0.8  # chance is a third


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_file_of_any_precision_is_written_and_verified(
    run: Path, command: Command, tmp_path: Path, precision: str
) -> None:
    supernet, path = run / "run" / "supernet.safetensors", tmp_path / "subnet.onnx"
    printed = command(
        "export",
        "largest",
        "--supernet",
        supernet,
        "--output",
        path,
        "--precision",
        precision,
        "--batch",
        "dynamic",
    )
    assert printed.status == 0
    printed = command("verify", path, "--supernet", supernet, "--json")
    assert printed.status == 0
    assert printed.document["is_met"] is True
    shown = command("show", path, "--json").document
    assert shown["input"]["shape"] == ["batch", 2, 1, 24]
    assert len(shown["input_mean"]) == 2
    assert shown["window"] == 24
    assert "(sample − mean) / std" in command("show", path).text
    assert "window 24 samples, as they are" in command("show", path).text


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["smallest", "largest"])
def test_the_program_of_the_page_sees_a_window_as_the_network_was_trained_to(
    run: Path,
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arch: str,
) -> None:
    supernet = run / "run" / "supernet.safetensors"
    card = SupernetCard.load(SupernetFiles.find(str(supernet)).card)
    monkeypatch.chdir(tmp_path)
    assert command("export", arch, "--supernet", supernet, "--output", "subnet.onnx").status == 0
    recorded = np.random.default_rng(0).normal(40.0, 5.0, (100, 2)).astype(np.float32)
    np.save("recorded.npy", recorded)
    made = run_program()
    assert capsys.readouterr().out.strip() in card.class_names
    windows = torch.from_numpy(recorded[None, None, -24:])
    expected = to_input(windows, made["length"], Normalization(card.input_mean, card.input_std))
    assert made["length"] == {"smallest": 16, "largest": 24}[arch]
    np.testing.assert_allclose(made["signal"], expected.numpy(), atol=1e-5)
    text = command("show", "subnet.onnx").text
    told = {"smallest": "24 samples, linearly resampled to 16", "largest": "24 samples, as they are"}
    assert f"window {told[arch]}" in text


def run_program() -> dict[str, Any]:
    """Run the application of docs/signals.md in the folder that it is in; its names."""
    _, block = code_blocks("docs/signals.md", "python")
    made: dict[str, Any] = {}
    exec(compile(block, "signals.md", "exec"), made)
    return made


def signal_file(path: Path, *, window: int) -> SearchSpace:
    """A file of a network of signals, untrained; its space."""
    (path.parent / "waves.toml").write_text(SPACE)
    space = SearchSpace.load(str(path.parent / "waves.toml"))
    supernet = Supernet(space, torch.Generator().manual_seed(0))
    card = ModelCard(
        arch=space.smallest,
        space=space,
        supernet="waves",
        supernet_sha256="",
        data="signals",
        class_names=("slow", "fast", "turning"),
        normalization=Normalization((40.0, 39.0), (6.0, 7.0)),
        predicted={},
        window=window,
    )
    windows = np.random.default_rng(1).normal(40.0, 6.0, (9, 1, max(window, 1), 2)).astype(np.float32)
    save_model(path, export_subnet(supernet, card, calibration=windows)[1])
    return space


@pytest.mark.parametrize("window", [5, 16, 17, 98])
def test_the_program_of_the_page_resamples_any_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    monkeypatch.chdir(tmp_path)
    signal_file(tmp_path / "subnet.onnx", window=window)
    recorded = np.random.default_rng(2).normal(40.0, 5.0, (120, 2)).astype(np.float32)
    np.save("recorded.npy", recorded)
    windows = torch.from_numpy(recorded[None, None, -window:])
    expected = to_input(windows, 16, Normalization((40.0, 39.0), (6.0, 7.0)))
    np.testing.assert_allclose(run_program()["signal"], expected.numpy(), atol=1e-5)


def test_files_that_do_not_tell_their_window_are_read(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "older.onnx"
    signal_file(path, window=0)
    model = read_model(path)
    assert "ofa_nas.window" not in {one.key for one in model.metadata_props}
    assert ModelCard.from_model(model, path).window == 0
    assert "window not stated" in command("show", path).text


@pytest.mark.parametrize("value", ["0", "-3", "1.5", '"24"', "true", "10000000"])
def test_a_window_that_is_none_is_refused(refused: Callable[..., str], tmp_path: Path, value: str) -> None:
    path = tmp_path / "other.onnx"
    signal_file(path, window=24)
    model = read_model(path)
    props = {one.key: one.value for one in model.metadata_props}
    onnx.helper.set_model_props(model, props | {"ofa_nas.window": value})
    save_model(path, model)
    assert "metadata are damaged: window must be a number of samples from 1" in refused("show", path)


@pytest.mark.slow
def test_a_search_keeps_its_budget_and_tells_of_signals(run: Path, command: Command, tmp_path: Path) -> None:
    supernet, path = run / "run" / "supernet.safetensors", tmp_path / "subnet.onnx"
    printed = command(
        "search", "--supernet", supernet, "--device", run / "board.json", "--latency", "0.9ms",
        "--export", path, "--report", tmp_path / "page.html", "--json",
    )  # fmt: skip
    assert printed.status == 0
    assert printed.document["predicted"]["latency_ms"]["exact"] <= 0.9
    assert {layer.get("axes") for layer in printed.document["network"]["layers"]} == {1, None}
    card = ModelCard.from_model(read_model(path), path)
    assert card.space.digest == SearchSpace.load(str(run / "waves.toml")).digest


@pytest.mark.slow
@pytest.mark.parametrize("work", ["train", "bootstrap"])
def test_a_supernet_that_starts_from_another_takes_its_windows(
    run: Path, command: Command, tmp_path: Path, work: str
) -> None:
    files = SupernetFiles(tmp_path / "supernet.safetensors")
    output = {
        "train": ["--epochs", "0.2", "--batch-size", "8", "--output", tmp_path],
        "bootstrap": ["--output", files.weights],
    }
    start = run / "run" / "supernet.safetensors"
    assert command(work, "--from", start, "--data", run / "data", *output[work]).status == 0
    assert SupernetCard.load(files.card).data == "signals@24/12"
    assert load_sample(files.held_out).size_px == 24


@pytest.mark.slow
@pytest.mark.parametrize("work", [("transfer",), ("prune", "--method", "channel")], ids=lambda work: work[0])
@pytest.mark.parametrize("is_file", [False, True])
def test_a_subnet_of_signals_is_adapted_on_the_windows_that_it_knows(
    run: Path, command: Command, tmp_path: Path, work: tuple[str, ...], is_file: bool
) -> None:
    supernet, path = run / "run" / "supernet.safetensors", tmp_path / "file.onnx"
    start = path if is_file else "largest"
    if is_file:
        assert command("export", "largest", "--supernet", supernet, "--output", path).status == 0
    brief = ["--epochs", "0.2", "--batch-size", "8", "--output", tmp_path]
    printed = command(*work, "--supernet", supernet, "--from", start, "--data", run / "data", *brief)
    assert (tmp_path / "subnet.onnx").is_file(), printed.err
    files = SupernetFiles(tmp_path / "subnet.safetensors")
    assert SupernetCard.load(files.card).data == "signals@24/12"
    assert load_sample(files.held_out).size_px == 24


@pytest.mark.slow
@pytest.mark.parametrize("line", ["supernet =", "train.from ="])
def test_a_run_from_a_supernet_takes_its_windows(run: Path, tmp_path: Path, line: str) -> None:
    path, supernet = tmp_path / "run.toml", run / "run" / "supernet.safetensors"
    collect = 'collect.count = 8\nsearch.macs = "1M"\n'
    path.write_text(f'{line} "{supernet}"\ndata = "{run / "data"}"\n{collect}')
    facts = check_run(RunFile.read(path))
    assert facts.data is not None
    assert facts.data.name == "signals@24/12"


def test_a_run_that_trains_knows_the_channels_of_its_signals(tmp_path: Path) -> None:
    path, data = tmp_path / "run.toml", tmp_path / "data"
    write_recordings(data)
    path.write_text(f'data = "{data}@64/32"\ntrain.space = "conv1d"\nsearch.macs = "1M"\n')
    space = check_run(RunFile.read(path)).space
    assert space == SearchSpace.load("conv1d").with_classes(CLASSES).with_channels(2)


def test_a_run_that_cannot_train_on_its_signals_is_refused_first(
    tmp_path: Path, small: SmallSupernet
) -> None:
    path, data = tmp_path / "run.toml", tmp_path / "data"
    write_recordings(data)
    for key, line in (
        ("train.space", 'train.recipe = "signals"'),
        ("train.from", f'train.from = "{small.name}"'),
        ("data", f'supernet = "{small.name}"\ncollect.count = 8'),
    ):
        path.write_text(f'data = "{data}@64/32"\n{line}\nsearch.macs = "1M"\n')
        with pytest.raises(ConfigError, match=rf"{key}: the data are signals, and \w+ takes images"):
            check_run(RunFile.read(path))


def test_a_run_whose_file_would_take_pixels_of_signals_is_refused_first(tmp_path: Path) -> None:
    path, data = tmp_path / "run.toml", tmp_path / "data"
    write_recordings(data)
    text = f'data = "{data}@64/32"\ntrain.space = "conv1d"\nsearch.macs = "1M"\n'
    path.write_text(f"{text}export.preprocess = true\n")
    with pytest.raises(ConfigError, match=r"export\.preprocess: .* such a file takes pixels of 0 to 255"):
        check_run(RunFile.read(path))


def test_a_run_that_would_flip_its_signals_is_refused_first(tmp_path: Path) -> None:
    path, data = tmp_path / "run.toml", tmp_path / "data"
    write_recordings(data)
    text = f'data = "{data}@64/32"\ntrain.space = "conv1d"\nsearch.macs = "1M"\n'
    path.write_text(text + "train.balance = 0.5\n")
    check_run(RunFile.read(path))
    for line in ('train.flip = "none"', "train.brightness = 0", "train.saturation = 0"):
        path.write_text(f"{text}{line}\n")
        with pytest.raises(ConfigError, match="flip, brightness and saturation are of images, and signals"):
            check_run(RunFile.read(path))


@pytest.mark.parametrize("work", ["transfer", "prune"])
def test_a_network_of_images_is_not_adapted_to_signals(
    small: SmallSupernet, refused: Callable[..., str], tmp_path: Path, work: str
) -> None:
    write_recordings(tmp_path / "data")
    own = ["--supernet", small.name, "--from", "smallest", "--output", tmp_path / "run"]
    line = refused(work, *own, "--data", tmp_path / "data")
    assert "the data are signals, and tiny takes images: conv1d is a space for signals" in line
    assert not (tmp_path / "run").exists()


def test_pretraining_refuses_signals_and_networks_of_signals(
    small: SmallSupernet, refused: Callable[..., str], tmp_path: Path
) -> None:
    write_recordings(tmp_path / "data")
    output = ["--output", tmp_path / "run"]
    for space in ("tiny", "conv1d"):
        line = refused("pretrain", "--space", space, "--data", tmp_path / "data", *output)
        assert "are signals, and pretraining makes views of images" in line
    line = refused("pretrain", "--space", "conv1d", "--data", small.data, *output)
    assert "the data are images, and conv1d takes signals" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_what_does_not_go_with_signals_is_one_line(
    run: Path, refused: Callable[..., str], tmp_path: Path
) -> None:
    supernet, data = run / "run" / "supernet.safetensors", run / "data"
    path = tmp_path / "subnet.onnx"
    assert "takes signals" in refused(
        "export", "largest", "--supernet", supernet, "--output", path, "--preprocess"
    )
    assert "takes signals" in refused("search", "--supernet", supernet, "--export", path, "--preprocess")
    assert "the data are signals, and tiny takes images" in refused(
        "train", "--space", "tiny", "--data", data, "--output", tmp_path / "no"
    )
    assert "--window 0: expected 1 or more samples" in refused(
        "evaluate", "--supernet", supernet, "--data", data, "--window", "0"
    )
    assert "give --data" in refused("evaluate", "--supernet", supernet, "--hop", "3")
    assert "take shorter windows" in refused(
        "evaluate", "--supernet", supernet, "--data", data, "--window", "121"
    )
    assert list(tmp_path.iterdir()) == []
