"""A document is read whole, or refused in one line that names file and key."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ofa_nas.errors import FileError
from ofa_nas.report.document import SearchDocument
from ofa_nas.report.reader import read_document, read_search
from tests.report.conftest import Found, Write


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Ways to every value of a document, the first two of a list."""
    inner: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value[:2]))
    return [path, *(way for key, one in inner for way in places(one, (*path, key)))][0 if path else 1 :]


@pytest.mark.parametrize(
    ("way", "value", "message"),
    [
        (("predicted", "accuracy"), 1.5, "predicted.accuracy: expected a number from 0.0 to 1.0"),
        (("front", 3, "architecture"), "<b>", "front[3]"),
        (("front", 3, "predicted", "latency_ms"), {}, "expected latencies on rpi4"),
        (("budgets", 0, "device"), "pi", "'pi' is none of the devices"),
        (("network", "layers", 2, "operators"), [], "network.layers[2].operators: expected one or more"),
        (("network", "constant_ms"), {"pi": 1.0}, "network: expected latencies on rpi4"),
        (("network", "layers", 2, "stage"), 99, "each of one of the stages"),
        (("tables", 0, "notes"), [1], "tables[0].notes.0: expected a string, got 1"),
        (("made_by", "seed"), -1, "made_by.seed"),
        (("supernet",), 3, "supernet: expected a string"),
    ],
)
def test_what_is_wrong_is_named(
    way: tuple[Any, ...], value: object, message: str, found: dict[str, Found], write: Write
) -> None:
    content = found["one"].content
    inner: Any = content
    for key in way[:-1]:
        inner = inner[key]
    inner[way[-1]] = value
    with pytest.raises(FileError) as caught:
        _ = write(content).document
    assert message in str(caught.value)
    assert "search.json" in str(caught.value)


def test_an_objective_on_another_device_is_refused(found: dict[str, Found], write: Write) -> None:
    content = found["goal"].content
    content["objective"]["device"] = "pi"
    with pytest.raises(FileError, match="objective: 'pi' is none of the devices"):
        _ = write(content).document


def read_or_refuse(content: dict[str, Any]) -> SearchDocument | FileError:
    try:
        return read_document(content, Path("search.json"))
    except FileError as error:
        return error


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_no_change_of_a_value_is_more_than_one_error(data: st.DataObject, found: dict[str, Found]) -> None:
    content = found[data.draw(st.sampled_from(["one", "list"]))].content
    content["front"] = content["front"][:3]
    way = data.draw(st.sampled_from(places(content)))
    inner: Any = content
    for key in way[:-1]:
        inner = inner[key]
    wrong = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just([]), st.just({})
    )
    inner[way[-1]] = data.draw(wrong)
    found_so = read_or_refuse(content)
    if isinstance(found_so, FileError):
        assert str(found_so).startswith("search.json: ")
    else:
        assert found_so.main.chosen


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(json.dumps({"checks": []}))
    with pytest.raises(FileError, match="not the document of a search"):
        read_search(path)
    with pytest.raises(FileError, match=r"no search.json in this folder"):
        read_search(tmp_path)
    path.write_text(
        json.dumps({"front": [], "answers": [{"unmet": "no", "budgets": []}], "supernet": "s", "space": "t"})
    )
    with pytest.raises(FileError, match="answers: expected one or more that holds an architecture"):
        read_search(path)


def test_a_run_folder_adds_the_verification_of_its_own_file(found: dict[str, Found], tmp_path: Path) -> None:
    content = found["one"].content
    check = {
        "quantity": "accuracy", "measured": 0.5, "predicted": 0.6, "unit": "fraction", "is_met": True,
    }  # fmt: skip
    (tmp_path / "search.json").write_text(json.dumps(content))
    assert read_search(tmp_path).checks == ()
    verification = {"architecture": content["architecture"], "checks": [check]}
    (tmp_path / "verification.json").write_text(json.dumps(verification))
    assert [one.measured for one in read_search(tmp_path).checks] == [0.5]
    verification["architecture"] = content["front"][0]["architecture"]
    (tmp_path / "verification.json").write_text(json.dumps(verification))
    assert read_search(tmp_path).checks == ()


def test_the_terms_of_the_weights_are_told(found: dict[str, Found], write: Write) -> None:
    facts = dict(found["one"].document.facts)
    assert facts["licence"].endswith("for non-commercial research")
    content = found["one"].content
    del content["weights"]["licence"]  # as before documents told it
    assert "licence" not in dict(write(content).document.facts)


def test_a_file_that_beats_torch_is_read(found: dict[str, Found], write: Write) -> None:
    check = {"quantity": "accuracy_drop", "measured": -0.003, "unit": "fraction", "is_met": True}
    (read,) = write(found["int8"].content | {"checks": [check]}).document.checks
    assert read.measured == -0.003
