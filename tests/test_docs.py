"""The documents are true: the command reference is that of the parsers, and links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest

from ofa_nas.cli import build_parser
from ofa_nas.cli.reference import render

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("*/*.md")])


def test_the_command_reference_is_up_to_date() -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert text == render(), "run: python -m ofa_nas.cli.reference > docs/cli.md"


@pytest.mark.parametrize("name", ["README.md", "docs/python.md"])
def test_the_python_of_the_documents_runs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, name, "exec"), {})
        assert capsys.readouterr().out


def command_lines(text: str) -> list[str]:
    """Calls of `ofa-nas` in code blocks that name no language, each on one line; `…` is left out."""
    lines = []
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").replace(" …", "").splitlines():
            parts = line.split("&&") if not language else []
            lines += [part.strip() for part in parts if part.strip().startswith("ofa-nas ")]
    return lines


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_commands_of_the_documents_are_understood(path: Path) -> None:
    is_history = path.name in ("log.md", "CHANGELOG.md")
    for line in [] if is_history else command_lines(path.read_text(encoding="utf-8")):
        words = shlex.split(line, comments=True)[1:]
        build_parser(words[:1]).parse_args(words)  # exits on what it does not know


def test_commands_are_found_in_code_blocks() -> None:
    first, second, third = "pip install . && ofa-nas spaces \\\ntiny  # one", "ofa-nas no", "ofa-nas run …"
    text = f"```\n{first}\n```\n\n```text\n{second}\n```\n\n```\n{third}\n```\n"
    assert command_lines(text) == ["ofa-nas spaces  tiny  # one", "ofa-nas run"]
    assert len(command_lines((ROOT / "README.md").read_text(encoding="utf-8"))) >= 6


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_to_files(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_the_recipe_in_the_docs_can_be_trained_with(tmp_path: Path) -> None:
    from ofa_nas.training.recipe import Recipe

    (block,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "training.md").read_text(), re.DOTALL)
    path = tmp_path / "own.toml"
    path.write_text(block)
    recipe = Recipe.load(str(path))
    assert [phase.name for phase in recipe.phases] == ["warm", "shrink"]
