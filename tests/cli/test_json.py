"""Every `--json` has a schema, and every document that a command-line test makes is held against it."""

from collections.abc import Iterator
from typing import Any

import fastjsonschema
import pytest

from tests.json_schemas import FOLDER, NAMES, check_document, read_schema, schema_name


def objects_of(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """All objects with known keys in a schema, and where they stand."""
    if "properties" in schema:
        yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from objects_of(part, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield from objects_of(schema[name], f"{path}.{name}")
    for part in schema.get("anyOf", ()):
        yield from objects_of(part, path)


def test_every_command_has_a_schema_and_every_schema_a_command() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.json")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_key_is_described_and_no_other_is_allowed(name: str) -> None:
    for path, part in objects_of(read_schema(name)):
        assert part["additionalProperties"] is False, path
        assert set(part["required"]) <= part["properties"].keys(), path
        for key, value in part["properties"].items():
            assert value["description"], f"{path}.{key}"


def test_a_key_too_many_and_one_too_few_are_found() -> None:
    document = {"shell": "bash", "code": "…", "use": "…"}
    check_document(["completion", "bash"], document)
    with pytest.raises(fastjsonschema.JsonSchemaException, match="must contain"):
        check_document(["completion", "bash"], {"shell": "bash"})
    with pytest.raises(fastjsonschema.JsonSchemaException, match="must not contain"):
        check_document(["completion", "bash"], {**document, "more": 1})


def test_a_command_line_leads_to_its_schema() -> None:
    lines = ["search --macs 1M", "devices", "devices explain rpi4", "predictor --seed 1 fit"]
    names = ["search", "devices-list", "devices-explain", "predictor-fit"]
    assert [schema_name(line.split()) for line in lines] == names
