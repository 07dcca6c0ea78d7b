"""`ofa-nas import`, both ways."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ofa_nas.cli import main
from ofa_nas.supernet.checkpoint import load_supernet
from ofa_nas.supernet.official import official_tensors
from ofa_nas.supernet_card import SupernetFiles
from tests.cli.conftest import Command
from tests.official_checkpoints import MOBILENET, Runs, flat_tensors, lively_tensors, spelt_as_published

PROXYLESS = "ofa_proxyless_d234_e346_k357_w1.3"


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A published file, alone in the working folder."""
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": spelt_as_published(flat_tensors(MOBILENET))}, MOBILENET)
    return Path(MOBILENET)


def test_a_checkpoint_becomes_a_supernet_under_its_own_name(command: Command, published: Path) -> None:
    printed = command("import", published)
    assert (printed.status, printed.err) == (0, "")
    digest = hashlib.sha256(published.read_bytes()).hexdigest()
    for text in (f"network {MOBILENET}", "space mobilenet_v3", f"SHA-256 {digest}"):
        assert text in printed.text
    files = SupernetFiles(Path("runs/import") / f"{MOBILENET}.safetensors")
    assert str(files.weights) in printed.text
    supernet, card = load_supernet(files)
    assert card.made_by["imported"] == {"network": MOBILENET, "file": published.name, "sha256": digest}
    tensors = flat_tensors(MOBILENET)
    for name, value in official_tensors(supernet).items():
        torch.testing.assert_close(value, tensors[name], rtol=1e-3, atol=0.0)


def test_the_json_says_where_what_and_which(command: Command, published: Path, tmp_path: Path) -> None:
    torch.save(flat_tensors(PROXYLESS), published)
    output = tmp_path / "out" / "net.safetensors"
    document = command("import", published, "--output", output, "--json").document
    assert document == {
        "supernet": str(output),
        "predictor": None,
        "space": "proxyless_w1.3",
        "network": PROXYLESS,
        "file": published.name,
        "sha256": hashlib.sha256(published.read_bytes()).hexdigest(),
    }
    assert sorted(path.name for path in output.parent.iterdir()) == ["net.json", "net.safetensors"]


def test_a_supernet_goes_back_under_official_names(command: Command, published: Path, tmp_path: Path) -> None:
    tensors = lively_tensors(MOBILENET)
    torch.save({"state_dict": tensors}, published)
    command("import", published, "--output", "net.safetensors")
    printed = command("import", "net.safetensors", "--export-official", tmp_path / "back.pth", "--json")
    assert (printed.status, printed.err) == (0, "")
    assert printed.document == {"checkpoint": str(tmp_path / "back.pth"), "supernet": "net.safetensors"}
    back = torch.load(tmp_path / "back.pth", weights_only=True)["state_dict"]
    for name, value in tensors.items():
        torch.testing.assert_close(back[name], value, rtol=1e-3, atol=1e-6)


def test_damaged_checkpoints_are_one_line_and_leave_nothing(
    refused: Callable[..., str], published: Path, tmp_path: Path
) -> None:
    tensors = flat_tensors(MOBILENET)
    bias = "classifier.linear.bias"
    whole = published.read_bytes()
    for content, message in (
        ({**tensors, bias: torch.full((1000,), torch.nan)}, f"{bias} holds a value that is not finite"),
        ({**tensors, bias: torch.zeros(10)}, f"{bias} is (10,); the space needs (1000,)"),
        ({**tensors, "extra": torch.zeros(1)}, "tensor extra is unknown"),
        ({**tensors, "extra": Runs(tmp_path / "ran")}, "mkdir; only a dict of tensors is read"),
        (b"", "it is damaged, or torch.save did not write it"),
        (whole[: len(whole) // 2], "it is damaged, or torch.save did not write it"),
    ):
        if isinstance(content, bytes):
            published.write_bytes(content)
        else:
            torch.save(content, published)
        assert message in refused("import", published)
        assert [path.name for path in tmp_path.iterdir()] == [published.name]


def test_what_cannot_be_meant_is_refused(
    refused: Callable[..., str], published: Path, tmp_path: Path
) -> None:
    line = refused("import", published, "--output", "net.pth")
    assert "--output net.pth: expected the name of a .safetensors file" in line
    assert "no such supernet" in refused("import", published, "--export-official", "back.pth")
    line = refused("import", "efficientnet_lite", "--export-official", "back.pth")
    assert "efficientnet_lite is the space of no network of once-for-all" in line
    assert [path.name for path in tmp_path.iterdir()] == [published.name]


def test_one_direction_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["import", "net", "--output", "net.safetensors", "--export-official", "net.pth"])
    assert "not allowed with argument" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_told_before_the_work(
    refused: Callable[..., str], published: Path
) -> None:
    Path("runs").write_text("a file")
    published.write_bytes(b"damaged, which would be told next")
    assert "runs/import: cannot be written: runs is no folder" in refused("import", published)
