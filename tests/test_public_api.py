"""The public face: complete, sorted, lazy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ofa_nas


def test_every_public_name_loads_and_is_documented() -> None:
    for name in ofa_nas.__all__:
        assert getattr(ofa_nas, name).__doc__, name
        assert name in dir(ofa_nas)


def test_the_names_are_sorted_and_the_same_in_all_three_places() -> None:
    tree = ast.parse(Path(ofa_nas.__file__).read_text())
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {name.name for node in checked.body if isinstance(node, ast.ImportFrom) for name in node.names}
    assert sorted(ofa_nas.__all__) == ofa_nas.__all__
    assert set(ofa_nas._HOMES) == set(ofa_nas.__all__) == typed


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = ofa_nas.nope  # type: ignore[attr-defined]  # nor does a type checker take it


HEAVY = "{'torch', 'onnx', 'onnxruntime', 'optuna', 'PIL', 'scipy'}"


@pytest.mark.parametrize(
    ("statement", "banned"),
    [
        ("import ofa_nas", HEAVY + " | {'numpy', 'rich'}"),
        ("from ofa_nas import SearchSpace, Encoding, Architecture", HEAVY),
        ("from ofa_nas import ChoiceSpace, Problem; ofa_nas.load_method('evolution')", HEAVY),
        ("ofa_nas.find_subnet(latency={'rpi4': '30ms'}, peak_memory='1.2MB')", HEAVY + " - {'onnx'}"),
        ("main(['--help'])", HEAVY + " | {'numpy', 'rich'}"),
        ("main(['spaces'])", HEAVY),
        ("main(['spaces', 'tiny', '--json'])", HEAVY),
        ("from ofa_nas.supernet.starts import find_start; find_start('efficientnet_lite')", HEAVY),
    ],
)
def test_light_work_imports_nothing_heavy(statement: str, banned: str) -> None:
    program = f"""
import sys
import ofa_nas
from ofa_nas.cli import main
try:
    {statement}
except SystemExit as stop:
    assert stop.code == 0
found = ({banned}) & set(sys.modules)
assert not found, found
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, stdout=subprocess.DEVNULL)
