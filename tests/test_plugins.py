"""Plug-ins are found by file name, and anybody's module by its dotted path."""

from pathlib import Path

import pytest

from ofa_nas.errors import ConfigError
from ofa_nas.plugins import load_plugin, plugin_names
from ofa_nas.space.blocks import lower
from ofa_nas.space.layer import Layer


def test_names_are_the_files_of_the_folder() -> None:
    assert plugin_names("space.blocks") == sorted(plugin_names("space.blocks"))
    assert {"conv", "linear", "mbconv", "pool"} <= set(plugin_names("space.blocks"))


def test_a_name_loads_its_module() -> None:
    assert load_plugin("space.blocks", "mbconv").__name__ == "ofa_nas.space.blocks.mbconv"


@pytest.mark.parametrize("name", ["nope", "", "../mbconv", "mbconv.py", "a.", "mbconv\n"])
def test_an_unknown_name_lists_those_there_are(name: str) -> None:
    with pytest.raises(ConfigError, match=r"space\.blocks: .*(conv, conv1d, linear, mbconv|cannot import)"):
        load_plugin("space.blocks", name)


def test_a_missing_dotted_module_is_named() -> None:
    with pytest.raises(ConfigError, match=r"cannot import 'my_lab\.jetson'"):
        load_plugin("space.blocks", "my_lab.jetson")


def test_a_block_kind_of_ones_own_needs_no_fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Path(load_plugin("space.blocks", "pool").__file__).read_text()
    (tmp_path / "own_lab").mkdir()
    (tmp_path / "own_lab" / "block.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    layer = Layer("layer", "own_lab.block", 8, 8, 8, 7, 1, 7, 1, "none", norm=False)
    assert [operator.name for operator in lower(layer)] == ["pool"]


def test_a_module_without_lower_is_no_block_kind() -> None:
    layer = Layer("layer", "os.path", 8, 8, 8, 7, 1, 7, 1, "none", norm=False)
    with pytest.raises(ConfigError, match=r"os\.path: not a block kind: the module lacks lower"):
        lower(layer)
