"""Plug-ins are found by file name, and anybody's module by its dotted path."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ofa_nas import plugins
from ofa_nas.data.synthetic import SyntheticImages, write_synthetic
from ofa_nas.devices import open_device
from ofa_nas.errors import ConfigError, DeviceError
from ofa_nas.plugins import load_plugin, plugin_names, raising_plugin
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


KIND = """
from ofa_nas.space.operators import INPUT, Convolution, Elementwise, Pool, Resample

def lower(layer):
    c, size = layer.out_channels, layer.out_size
    conv = Convolution("conv", (INPUT,), layer.in_channels, c, 1, 1, 1, size, size, (0, 0))
    return (conv, {last})
"""


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (
            'Elementwise("act", ("conv",), "silu", c, size)',
            "Elementwise has no function 'silu'; it has relu, relu6, hard_swish, hard_sigmoid, add, scale",
        ),
        ('Elementwise("act", ("conv",), None, c, size)', "Elementwise has no function None; it has relu, "),
        ('Elementwise("act", ("conv",), "add", c, size)', "add takes 2 input(s), got 1"),
        ('Elementwise("act", ("conv", INPUT), "relu", c, size)', "relu takes 1 input(s), got 2"),
        (
            'Resample("act", ("conv",), "nearest", c, size, size)',
            "Resample has no function 'nearest'; it has halve, bilinear",
        ),
    ],
)
def test_a_block_kind_with_a_function_that_there_is_not_is_refused(
    write_module: Callable[[str], str], last: str, message: str
) -> None:
    kind = write_module(KIND.format(last=last))
    layer = Layer("s0b0", kind, 8, 8, 8, 1, 1, 7, 7, "relu")
    where = f"{kind}: lower: operator 'act' of layer s0b0: "
    with pytest.raises(ConfigError, match="^" + re.escape(where + message)):
        lower(layer)


@pytest.mark.parametrize("text", ["def search(:", "from os import nothing_of_it", "import not_there_at_all"])
def test_a_module_that_is_no_python_or_lacks_something_is_named(
    write_module: Callable[[str], str], text: str
) -> None:
    path = write_module(text)
    with pytest.raises(ConfigError, match=rf"search\.methods: cannot import '{path}'"):
        load_plugin("search.methods", path)


OPERATORS = """
from ofa_nas.space.operators import INPUT, Elementwise, Pool
def lower(layer):
    return {}
"""


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("None", "gave None for layer layer"),
        ("()", r"gave \(\) for layer layer"),
        ("(1,)", "gave 1 for"),
        ("(Pool('pool', ('nowhere',), 8, 7),)", "gave 'pool' of nowhere"),
        ("(Elementwise('act', (INPUT,), 'relu', 8, 7),)", "gave 392 elements .* the last of which makes 8"),
    ],
)
def test_operators_that_do_not_make_the_output_of_the_input_are_told(
    write_module: Callable[[str], str], given: str, told: str
) -> None:
    path = write_module(OPERATORS.format(given))
    layer = Layer("layer", path, 8, 8, 8, 7, 1, 7, 1, "none", norm=False)
    with pytest.raises(ConfigError, match=rf"{path}: lower: {told}"):
        lower(layer)


def test_a_device_of_ones_own_that_lacks_something_is_named(write_module: Callable[[str], str]) -> None:
    path = write_module("def connect(address):\n    return 1\n")
    with pytest.raises(DeviceError, match=f"{path}://x: connect gave int, which lacks info, time, "):
        open_device(f"{path}://x")


@pytest.mark.parametrize("drawn", ["np.zeros((8, 8, 3))", "np.zeros((8, 9, 3), np.uint8)", "None"])
def test_a_generator_of_ones_own_that_draws_something_else_writes_no_file(
    write_module: Callable[[str], str], tmp_path: Path, drawn: str
) -> None:
    path = write_module(
        f"import numpy as np\nMODES = ()\ndef paint(size_px, *, mode, rng):\n    return {drawn}\n"
    )
    images = SyntheticImages.plan(path, mode=None, count=2, size_px=8, seed=0)
    with pytest.raises(ConfigError, match=rf"{path}: paint: gave .*; expected uint8 \(8, 8, 3\)"):
        list(write_synthetic(images, tmp_path / "images.npz"))
    assert not (tmp_path / "images.npz").exists()


def test_the_standard_library_is_no_plug_in_that_is_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "_own_packages", set())  # other tests load plug-ins of this very package
    load_plugin.cache_clear()
    load_plugin("space.blocks", "os.path")
    with pytest.raises(FileExistsError) as caught:
        os.makedirs(tmp_path)  # noqa: PTH103 - raises in a frame of that module
    assert raising_plugin(caught.value) == ""
