"""Small mistakes in one's own plug-ins are told in one line, and destroy nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.small_supernet import SmallSupernet

Refused = Callable[..., str]
PREDICTOR = """
import numpy as np

from ofa_nas.predictors import AdditiveForm
from ofa_nas.space.costs import layer_macs, tabulate

class Nearest:
    def __init__(self, encoding, genes, accuracies):
        self.encoding, self.genes, self.accuracies = encoding, genes, accuracies

    def predict(self, genes):
        found = self.accuracies[(genes[:, None] != self.genes[None]).sum(axis=2).argmin(axis=1)]
        return {predicted}

    def half_widths(self, genes):
        return {half_widths}

    def additive(self, encoding):
        return {additive}

    def {to_json}(self):
        return {{"genes": {genes}, "accuracies": self.accuracies.tolist()}}

def fit(encoding, observations, *, rng):
    return {fitted}

def from_json(encoding, parameters):
    return Nearest(encoding, np.array(parameters["{read}"], np.int16), np.array(parameters["accuracies"]))
"""
_MACS = "tabulate(self.encoding, layer_macs)"
_SUM = f"AdditiveForm({_MACS}, lambda sums: {{}})"
RIGHT = {
    "predicted": "found",
    "half_widths": "np.zeros(len(genes))",
    "additive": "None",
    "to_json": "to_json",
    "genes": "self.genes.tolist()",
    "fitted": "Nearest(encoding, observations.genes, observations.accuracies)",
    "read": "genes",
}
FAULTS = (
    ({"predicted": "found[:, None]"}, "predict: gave an array of float64 ("),
    ({"predicted": "found.tolist()"}, "predict: gave list for "),
    ({"predicted": "found * np.nan"}, "predict: gave nan for one of "),
    ({"predicted": "np.where((genes == genes[:1]).all(axis=1), found, np.nan)"}, "predict: gave nan for one"),
    ({"predicted": "np.full(len(genes), 'a')"}, "predict: gave an array of <U1 "),
    ({"half_widths": "0.0"}, "half_widths: gave float for "),
    ({"additive": "1.0"}, "additive: gave float; expected an AdditiveForm, or None for no sum"),
    ({"additive": _SUM.format("0.5 + 0.0 * sums")}, "additive: gives 0.5 where predict gives "),
    ({"additive": _SUM.format("None")}, "additive: its link gave NoneType for "),
    (
        {"predicted": f"{_MACS}.total(genes) * -1e-9", "additive": _SUM.format("-1e-9 * sums")},
        "additive: its link falls somewhere; expected one that rises",
    ),
    ({"to_json": "save"}, "fit: gave Nearest, which lacks to_json"),
    ({"fitted": "None"}, "fit: gave NoneType, which lacks predict, half_widths, additive, to_json"),
    ({"genes": "self.genes"}, "to_json: gave what is no JSON: Object of type ndarray is not JSON serial"),
    ({"read": "gene"}, "from_json: cannot read what to_json gave: KeyError: 'gene'"),
)


def test_a_predictor_of_ones_own_that_is_wrong_leaves_the_one_there_was(
    command: Command,
    refused: Refused,
    small: SmallSupernet,
    tmp_path: Path,
    write_module: Callable[[str], str],
) -> None:
    files = small.copy_to(tmp_path / "run")
    before = files.predictor.read_bytes()
    fit = ("predictor", "fit", "--supernet", files.weights, "--kind")
    for fault, message in FAULTS:
        kind = write_module(PREDICTOR.format(**(RIGHT | fault)))
        assert f"error: {kind}: {message}" in refused(*fit, kind), fault
        assert files.predictor.read_bytes() == before
    kind = write_module(PREDICTOR.format(**RIGHT))
    assert command(*fit, kind, "--json").document["report"]["kind"] == kind
    assert files.predictor.read_bytes() != before
    searched = command("search", "--supernet", files.weights, "--macs", "400k", "--json")
    assert searched.document["search"]["method"] == "evolution"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return None", "search: gave no generation; expected one or more, the last with the answer"),
        ("yield from ()", "search: gave no generation; expected one or more, the last with the answer"),
        ("yield problem.limits", "search: gave ndarray; expected a Generation"),
    ],
)
def test_a_search_method_of_ones_own_that_says_nothing_is_named(
    refused: Refused, small: SmallSupernet, write_module: Callable[[str], str], body: str, message: str
) -> None:
    method = write_module(f"def search(problem, *, rng, max_evaluations=1000):\n    {body}\n")
    search = ("search", "--supernet", small.name, "--method", method)
    assert f"error: {method}: {message}" in refused(*search, "--macs", "400k")
    goal = ("--objective", "macs", "--accuracy", "10%")
    assert f"error: {method}: {message}" in refused(*search, *goal)


def test_signals_of_ones_own_without_windows_are_not_called_images(
    refused: Refused, small: SmallSupernet, tmp_path: Path, write_module: Callable[[str], str]
) -> None:
    names = "DEFAULT_FOLDERS, ADDRESS, CHECKSUM, is_layout, splits = (), '', '', None, None"
    name = write_module(names)
    told = refused("evaluate", "smallest", "--supernet", small.name, "--data", f"{name}={tmp_path}@20")
    assert "windows (@20) are cut from signals, and the module lacks windowed_splits" in told


def test_a_data_set_of_ones_own_without_a_split_is_named(
    refused: Refused, small: SmallSupernet, tmp_path: Path, write_module: Callable[[str], str]
) -> None:
    head = "DEFAULT_FOLDERS, ADDRESS, CHECKSUM = (), '', ''\ndef is_layout(root):\n    return False\n"
    for given, message in (
        ("{'val': 1, 'test': 2}", "splits: gave val, test; expected a Source for each of train and val"),
        ("{'train': 1, 'val': None}", "splits: gave train, val; expected a Source for each of"),
        ("None", "splits: gave NoneType; expected a Source for each of train and val"),
    ):
        name = write_module(f"{head}def splits(root):\n    return {given}\n")
        evaluate = ("evaluate", "smallest", "--supernet", small.name, "--data")
        assert f"error: {name}: {message}" in refused(*evaluate, f"{name}={tmp_path}")


@pytest.mark.parametrize("debug", ["", "1"])
@pytest.mark.parametrize(
    ("raised", "told"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise ConnectionRefusedError(111, 'refused')", "ConnectionRefusedError: [Errno 111] refused"),
        ("raise BrokenPipeError('the board left')", "BrokenPipeError: the board left"),
        ("import serial_that_is_missing", "ModuleNotFoundError: No module named 'serial_that_is_missing'"),
        ("import json; json.loads('{')", "JSONDecodeError: Expecting property name"),
    ],
)
def test_an_exception_of_a_plug_in_is_told_by_its_name(
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    write_module: Callable[[str], str],
    raised: str,
    told: str,
    debug: str,
) -> None:
    monkeypatch.setenv("OFA_NAS_DEBUG", debug)
    name = write_module(f"def connect(address):\n    {raised}\n")
    printed = command("profile", "--device", f"{name}://x", "--space", "tiny")
    assert printed.status == 1
    assert f"error: {name} raised {told}" in printed.err
    assert ("Traceback" in printed.err) == bool(debug)
    assert debug or printed.err.startswith("error: ")


def test_so_is_one_of_a_module_beside_it_or_while_it_is_imported(
    refused: Refused, small: SmallSupernet, write_module: Callable[[str], str]
) -> None:
    search = ("search", "--supernet", small.name, "--macs", "400k", "--method")
    beside = write_module("def climb():\n    raise KeyError('step')\n")
    method = write_module(f"from {beside} import climb\ndef search(problem, *, rng):\n    yield climb()\n")
    assert refused(*search, method).startswith(f"error: {beside} raised KeyError: 'step' (run with")
    broken = write_module("raise RuntimeError('no licence')\n")
    assert refused(*search, broken).startswith(f"error: {broken} raised RuntimeError: no licence (run")


def test_what_a_plug_in_calls_of_ours_is_a_bug_of_ours(
    command: Command, write_module: Callable[[str], str]
) -> None:
    name = write_module(
        "from ofa_nas.figures import format_bytes\ndef connect(address):\n    format_bytes(None)\n"
    )
    printed = command("profile", "--device", f"{name}://x", "--space", "tiny")
    assert printed.status == 1
    assert printed.err.startswith("internal error: TypeError: ")
