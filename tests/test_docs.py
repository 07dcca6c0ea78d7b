"""The documents are true: the command reference is that of the parsers, and links lead somewhere."""

import os
import pkgutil
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ofa_nas.cli import COMMANDS, build_parser
from ofa_nas.cli.reference import render
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet_card import SupernetCard
from tests.small_supernet import SmallSupernet

ROOT = Path(__file__).parents[1]
SHELL = ("", "sh")
# Blocks that a test of this module or of tests/test_extending.py runs; what is `text` is what was printed.
RUN = {
    "python": {"README.md", "extending.md", "measured_search.md", "python.md", "signals.md", "tutorial.md"},
    "toml": {"run.md", "search_spaces.md", "training.md", "tutorial.md"},
}
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("*/*.md")])


def code_blocks(name: str, language: str) -> list[str]:
    """The code blocks of a document that name a language."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_command_reference_is_up_to_date() -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert text == render(), "run: python -m ofa_nas.cli.reference > docs/cli.md"
    assert "%%" not in text, "argparse prints one"


def test_who_gives_torch_no_threads_is_told_of_quotas() -> None:
    texts = [(ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("cli.md", "run.md")]
    told = [line for text in texts for line in text.splitlines() if "CPU threads" in line]
    assert len(told) > 1
    assert all("quota" in line for line in told), told


@pytest.mark.slow
def test_the_python_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for block in code_blocks("docs/python.md", "python"):
        exec(compile(block, "docs/python.md", "exec"), {})
        assert capsys.readouterr().out


def test_the_python_of_the_readme_is_that_of_the_page() -> None:
    """It is not run a second time."""

    def statements(block: str) -> list[str]:
        return [line.partition("  # ")[0] for line in block.splitlines() if line]

    (own,) = code_blocks("README.md", "python")
    first = statements(code_blocks("docs/python.md", "python")[0])
    assert [line for line in first if not line.startswith("print(delivery")] == statements(own)


@pytest.mark.campaign
@pytest.mark.slow
def test_the_python_of_the_documents_passes_a_strict_type_check(tmp_path: Path) -> None:
    for name in ("README.md", "docs/python.md"):
        for number, block in enumerate(code_blocks(name, "python")):
            (tmp_path / f"{Path(name).stem.lower()}_{number}.py").write_text(block, encoding="utf-8")
    check = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "."]
    done = subprocess.run(
        check,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_the_calls_that_the_page_names_are_there() -> None:
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    names = set(re.findall(r"`(ofa_nas\.[\w.]+)", text))
    assert len(names) > 15
    for name in names:
        pkgutil.resolve_name(name)


WITHOUT_CALL = {"completion": "it is for a shell"}


def test_every_command_has_a_call_on_the_page() -> None:
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z-]+)[^`]*` \| [^|]*`ofa_nas\.", text, re.MULTILINE)
    assert {command.name for command in COMMANDS} == set(rows) | set(WITHOUT_CALL)
    assert not set(rows) & set(WITHOUT_CALL)


def command_lines(text: str) -> list[str]:
    """Calls of `ofa-nas` in code blocks of a shell, each on one line; `…` is left out, a variable is 1."""
    lines = []
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").replace(" …", "").splitlines() if language in SHELL else []:
            spelt = re.sub(r"\$\w+", "1", re.sub(r"torchrun .* -m ofa_nas", "ofa-nas", line))
            parts = (part.strip().removeprefix("do ") for part in re.split(r"&&|;", spelt))
            lines += [part for part in parts if part.startswith("ofa-nas ")]
    return lines


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_commands_of_the_documents_are_understood(path: Path) -> None:
    is_history = path.name in ("log.md", "CHANGELOG.md")
    for line in [] if is_history else command_lines(path.read_text(encoding="utf-8")):
        words = shlex.split(line, comments=True)[1:]
        build_parser(words[:1]).parse_args(words)  # exits on what it does not know


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_code_block_is_run_or_was_printed(path: Path) -> None:
    for language in re.findall(
        r"^```(\w*)\n.*?^```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    ):
        assert language in (*SHELL, "text") or path.name in RUN[language], language


def test_commands_are_found_in_code_blocks() -> None:
    first, second, third = "pip install . && ofa-nas spaces \\\ntiny  # one", "ofa-nas no", "ofa-nas run …"
    text = f"```\n{first}\n```\n\n```text\n{second}\n```\n\n```\n{third}\n```\n"
    assert command_lines(text) == ["ofa-nas spaces  tiny  # one", "ofa-nas run"]
    loop = "for n in 1; do ofa-nas train --seed $n; done\ntorchrun --nnodes 2 -m ofa_nas train"
    assert command_lines(f"```sh\n{loop}\n```\n") == ["ofa-nas train --seed 1", "ofa-nas train"]
    assert len(command_lines((ROOT / "README.md").read_text(encoding="utf-8"))) >= 5


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_to_files(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def anchors(text: str) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_into_pages_lead_to_headings(path: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            page = path.parent / target if target else path
            assert anchor in anchors(page.read_text(encoding="utf-8")), f"{path.name}: {target}#{anchor}"


def test_every_page_and_every_schema_is_listed() -> None:
    pages, formats = (ROOT / "docs" / name for name in ("README.md", "formats.md"))
    listed = set(re.findall(r"\]\(([^)#\s]+)", pages.read_text(encoding="utf-8")))
    assert {path.name for path in pages.parent.glob("*.md")} - {"README.md"} <= listed
    described = set(re.findall(r"\]\(schemas/([^)]+)", formats.read_text(encoding="utf-8")))
    assert {path.name for path in (ROOT / "docs" / "schemas").iterdir()} == described


def test_the_recipe_in_the_docs_can_be_trained_with(tmp_path: Path) -> None:
    from ofa_nas.training.recipe import Recipe

    (block,) = code_blocks("docs/training.md", "toml")
    path = tmp_path / "own.toml"
    path.write_text(block)
    recipe = Recipe.load(str(path))
    assert [phase.name for phase in recipe.phases] == ["warm", "shrink"]


@pytest.mark.parametrize(
    ("dtype", "shape"), [(np.uint8, (40, 57, 3)), (np.uint8, (40, 57)), (np.uint16, (40, 57))]
)
def test_the_application_of_the_tutorial_classifies_with_an_exported_file(
    dtype: type[np.unsignedinteger[Any]],
    shape: tuple[int, ...],
    small: SmallSupernet,
    tiny: SearchSpace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from ofa_nas.data.image_files import decode_image
    from ofa_nas.data.packed import square_pixels
    from ofa_nas.pipeline.delivery.deliver import deliver
    from ofa_nas.pipeline.searching.promise import Promise

    list(deliver(small.files, tiny.smallest, Promise(figures={}), output=tmp_path / "subnet.onnx"))
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).integers(np.iinfo(dtype).max, size=shape, dtype=dtype, endpoint=True)
    Image.fromarray(noise).save("photo.jpg", "PNG")
    (block,) = code_blocks("docs/tutorial.md", "python")
    made: dict[str, Any] = {}
    exec(compile(block, "tutorial.md", "exec"), made)
    assert capsys.readouterr().out.strip() in SupernetCard.load(small.files.card).class_names
    seen = decode_image(Path("photo.jpg").read_bytes(), "photo.jpg")
    trained_on = square_pixels(seen, size_px=tiny.smallest.resolution)
    np.testing.assert_array_equal(made["pixels"], trained_on)


def test_the_run_files_of_the_documents_are_read(tmp_path: Path) -> None:
    from ofa_nas.pipeline.running.run_file import RunFile

    blocks = code_blocks("docs/tutorial.md", "toml") + code_blocks("docs/run.md", "toml")
    assert len(blocks) >= 4
    for block in blocks:
        path = tmp_path / "run.toml"
        path.write_text(
            block if "[search]" in block else f'{block}\n[search]\ndevice = "rpi4"\nlatency = "9ms"\n'
        )
        assert RunFile.read(path).search.latency


def test_the_study_of_the_documents_opens_in_optuna(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ofa_nas.search.storage import open_storage
    from ofa_nas.search.study import Objective, Study

    monkeypatch.chdir(tmp_path)
    study = Study.open(
        open_storage("study.log"),
        "efficientnet_lite",
        where="study.log",
        objectives=(Objective("top-1", is_maximised=True),),
        choices={"size": (96, 128)},
        about={},
        every_s=60.0,
    )
    study.enqueue("mine", {"size": 96}, {"predicted": 0.5})
    (block,) = code_blocks("docs/measured_search.md", "python")
    exec(compile(block, "measured_search.md", "exec"), {})
    assert "WAITING" in capsys.readouterr().out
