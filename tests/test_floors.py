"""The floors of ARCHITECTURE.md: imports point down, and torch begins at floor 5."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "ofa_nas"
FLOORS = (  # the first three are floor 0 of the document
    ("errors",),
    (
        "activity",
        "array_json",
        "arrays",
        "assets",
        "charts",
        "figures",
        "files",
        "locks",
        "plugins",
        "precisions",
        "provenance",
        "randomness",
    ),
    ("section",),
    ("space", "accuracy", "pages"),
    ("devices", "onnx_writer", "quantization", "sample_store", "scores", "link_regression", "supernet_card"),
    ("latency", "predictors", "confusion"),
    ("search", "predictor_file"),
    ("supernet", "data"),
    ("training",),
    ("transfer", "pruning", "export"),
    ("pipeline", "report"),
    ("cli",),
    ("__main__",),
)
PIPELINE = (  # its own rooms, lowest first
    "tables",
    "evaluating",
    "searching",
    "predicting",
    "measured",
    "delivery",
    "training",
    "adapting",
    "running",
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
HEAVY = {"onnx", "onnxruntime", "optuna"}


def imports(tree: ast.AST, *, inside_functions: bool) -> Iterator[str]:
    """Dotted names of the modules that a file imports; types for the checker do not count."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "ofa_nas":
            yield from (f"ofa_nas.{name.name}" for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif not _is_skipped(node, inside_functions=inside_functions):
            yield from imports(node, inside_functions=inside_functions)


def _is_skipped(node: ast.AST, *, inside_functions: bool) -> bool:
    typing_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    return typing_only or (isinstance(node, ast.FunctionDef) and not inside_functions)


def test_the_floors_of_the_document_are_these() -> None:
    text = (PACKAGE.parent / "ARCHITECTURE.md").read_text(encoding="utf-8")
    floor = ""
    told: dict[str, int] = {}
    floors = text.split("\n## Floors\n")[1].split("\n## ")[0]
    for number, rooms in re.findall(r"^\| *(\d?) *\| (`[^|]*) \|", floors, re.MULTILINE):
        floor = number or floor
        told |= dict.fromkeys(re.findall(r"`(\w+)`", rooms), int(floor))
    assert told == {room: max(floor - 2, 0) for room, floor in FLOOR_OF.items() if room != "__main__"}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    room = room_of(path)
    assert room in FLOOR_OF, f"{room} stands on no floor: add it to FLOORS and ARCHITECTURE.md"
    tree = ast.parse(path.read_text())
    for module in imports(tree, inside_functions=True):
        other = module.split(".")[1] if module.startswith("ofa_nas.") else room
        assert other == room or FLOOR_OF.get(other, -1) < FLOOR_OF[room], f"{room} imports {module}"
    loaded = {module.split(".")[0] for module in imports(tree, inside_functions=False)}
    is_below_torch = FLOOR_OF[room] < FLOOR_OF["supernet"] or room == "cli"
    assert not (is_below_torch and "torch" in loaded), f"{room} imports torch when it is imported itself"
    assert not (room == "cli" and loaded & HEAVY), f"cli imports {loaded & HEAVY} when it is imported itself"


def test_the_rooms_of_the_pipeline_are_these() -> None:
    text = (PACKAGE.parent / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = text.split("\n## Pipeline\n")[1].split("\n## ")[0]
    told = dict(re.findall(r"^\| `(\w+)` \| [^|]*: ([^|]*) \|", table, re.MULTILINE))
    assert tuple(reversed(told)) == PIPELINE
    for room, modules in told.items():
        found = {path.stem for path in (PACKAGE / "pipeline" / room).glob("*.py")} - {"__init__"}
        assert set(re.findall(r"`(\w+)`", modules)) == found


@pytest.mark.parametrize("path", sorted((PACKAGE / "pipeline").glob("*/*.py")), ids=lambda path: path.stem)
def test_imports_within_the_pipeline_point_down(path: Path) -> None:
    own = PIPELINE.index(path.parent.name)
    for module in imports(ast.parse(path.read_text()), inside_functions=True):
        if module.startswith("ofa_nas.pipeline."):
            assert PIPELINE.index(module.split(".")[2]) <= own, f"{path.parent.name} imports {module}"
