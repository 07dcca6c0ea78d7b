"""A valid sample of every kind of file, each in a folder of its own, with what must lie beside it."""

import csv
import gzip
import json
import shutil
import zipfile
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnx
import torch

from ofa_nas.accuracy import Draw
from ofa_nas.assets import asset_folder
from ofa_nas.data.sample import load_images
from ofa_nas.devices import MeasuringProtocol
from ofa_nas.devices.job import Job, ModelFile, Task
from ofa_nas.export.export import export_subnet, model_card
from ofa_nas.latency.bundle import write_bundle
from ofa_nas.latency.timings import BLOCK_COLUMNS
from ofa_nas.predictor_file import save_predictor
from ofa_nas.predictors import Observations, PopulationPredictor, load_module
from ofa_nas.provenance import record_provenance
from ofa_nas.sample_store import SampleStore
from ofa_nas.search.storage import open_storage
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.checkpoint import load_supernet
from ofa_nas.supernet.official_predictor import SHAPES
from ofa_nas.supernet.pretrained import efficientnet_lite0
from ofa_nas.training import recipe
from ofa_nas.training.batches import Batches
from ofa_nas.training.loop import Checkpointing
from ofa_nas.training.recipe import Recipe
from ofa_nas.training.splits import TrainingData
from ofa_nas.training.state import load_state
from ofa_nas.training.step import Learner
from ofa_nas.transfer.adapt import adapt
from tests.hardening import formats, readers
from tests.hardening.data_readers import DATA_READERS
from tests.hardening.data_samples import write_data
from tests.latency.test_calibration import BOARD, TRUTH, blocks
from tests.latency.test_lookup_table import write_file
from tests.official_checkpoints import MOBILENET, flat_tensors
from tests.pipeline.simulated_board import simulated_table
from tests.small_supernet import RECIPE, SmallSupernet, exact_table

TINY = SearchSpace.load("tiny")
FAST = MeasuringProtocol(rounds=2, max_rounds=2, visit_ms=0.0, retries=0, profile_runs=5, profile_sittings=1)
_SMALL: list[SmallSupernet] = []


def make_samples(small: SmallSupernet, root: Path) -> dict[str, Path]:
    """Paths of the samples by the names of their readers."""
    _SMALL[:] = [small]
    found = {}
    for reader in readers.READERS:
        folder = root / reader.name.replace(" ", "_")
        folder.mkdir(parents=True)
        path = folder / reader.file
        _MAKERS[reader.name](path)
        found[reader.name] = path
    formats.MODEL[:] = [found["onnx"].read_bytes()]
    return found


def _copy_small(path: Path) -> None:
    for source in _SMALL[0].files.weights.parent.iterdir():
        if source.is_file():
            shutil.copy(source, path.parent)


def _space(path: Path) -> None:
    shutil.copy(asset_folder("search_spaces") / "tiny.toml", path)


def _recipe(path: Path) -> None:
    shutil.copy(Path(recipe.__file__).parent / "recipes/progressive.toml", path)


def _roofline(path: Path) -> None:
    shutil.copy(asset_folder("latency_tables") / "rooflines/rpi4.toml", path)


def _measured(path: Path) -> None:
    exact_table(TINY).save(path)


def _verified(path: Path) -> None:
    from tests.latency.test_verification import verification

    replace(simulated_table(), history=(verification(),)).save(path)


def _roofline_table(path: Path) -> None:
    from ofa_nas.latency.calibration import calibrate

    calibrate(BOARD, blocks(path.parent, 40)).table.save(path)


def _estimated(path: Path) -> None:
    shutil.copy(asset_folder("latency_tables") / "rpi4_int8.json", path)


def _imported(path: Path) -> None:
    document = json.loads((asset_folder("latency_tables") / "note10.json").read_text(encoding="utf-8"))
    path.write_text(json.dumps({**document, "rows": document["rows"][:60]}), encoding="utf-8")


def _predictor(kind: str, path: Path) -> None:
    _copy_small(path)
    card = load_supernet(_SMALL[0].files)[1]
    encoding = Encoding.of(card.space)
    samples = SampleStore(_SMALL[0].files.samples).read()
    fitted = load_module(kind).fit(encoding, Observations.of(encoding, samples), rng=np.random.default_rng(0))
    predictor = PopulationPredictor(fitted, Draw.of(samples))
    save_predictor(
        path,
        predictor,
        kind=kind,
        encoding=encoding,
        weights=card.sha256,
        description="tiny",
        provenance=record_provenance(seed=0),
    )


def _history(path: Path) -> None:
    shutil.copy(_SMALL[0].files.weights.parent / "history.jsonl", path)


@lru_cache(maxsize=1)
def _learner() -> Learner:
    small = _SMALL[0]
    images = load_images(small.files.calibration)
    supernet, card = load_supernet(small.files)
    from ofa_nas.data import Normalization

    batches = Batches(images, RECIPE, normalization=Normalization(), device=torch.device("cpu"))
    assert card.space == supernet.space
    return Learner(supernet, batches)


def resume(path: Path) -> None:
    """Read a checkpoint as a resumed training does."""
    step = load_state(path, _learner(), meta={}).step
    assert 0 <= step < 10**9, step


def _checkpoint(path: Path) -> None:
    shutil.copy(_SMALL[0].files.weights.parent / "checkpoint.safetensors", path)


@lru_cache(maxsize=1)
def _transfer_parts() -> tuple[TrainingData, Recipe]:
    from tests.transfer import test_adapt as adapting

    return adapting.DATA, adapting.recipe()


def _adapted(path: Path, *, resume: bool) -> Generator[object, None, None]:
    from tests.transfer.test_adapt import network

    data, recipe = _transfer_parts()
    return adapt(network(TINY), data, recipe, checkpointing=Checkpointing(path, resume))


def _transfer(path: Path) -> None:
    list(_adapted(path, resume=False))


def go_on(path: Path) -> None:
    """Read a checkpoint as a resumed transfer does."""
    next(_adapted(path, resume=True), None)


def _foreign(path: Path) -> None:
    """A classifier without a card, its batch open."""
    _onnx(path)
    model = onnx.load(path)
    del model.metadata_props[:]
    del model.graph.output[1:]
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    path.write_bytes(model.SerializeToString())


def _pretrained(path: Path) -> None:
    names = efficientnet_lite0.tensor_names().values()
    torch.save({name: torch.zeros(1) for name in names}, path)


def _onnx(path: Path) -> None:
    supernet, card = load_supernet(_SMALL[0].files)
    own = model_card("small", card, card.space.smallest, {"accuracy": 0.5, "macs": 1e5})
    _, model = export_subnet(supernet, own, calibration=_SMALL[0].calibration)
    path.write_bytes(model.SerializeToString())


def _networks(path: Path) -> None:
    archs = [TINY.smallest, TINY.middle, TINY.largest]
    rows = [f"tiny,{arch},{sum(map(TRUTH.layer_ms, TINY.layers(arch))):.6f}" for arch in archs]
    path.write_text("\n".join(["space,architecture,ms", *rows]) + "\n", encoding="utf-8")


def _blocks(path: Path) -> None:
    blocks(path.parent, 33)
    with (path.parent / "blocks.csv").open(encoding="utf-8") as file:
        assert next(csv.reader(file)) == list(BLOCK_COLUMNS)
    (path.parent / "blocks.csv").replace(path)


def _bundle(path: Path) -> None:
    *_, _written = write_bundle(path, TINY, protocol=FAST, resolutions=[24])


def _lines() -> Iterator[dict[str, object]]:
    board = {"board": "", "architecture": "aarch64", "system": "Linux 6"}
    board |= {"cpu": "A72", "onnxruntime": "1.21", "python": "3.11", "governor": "performance"}
    yield {"kind": "device", "job": _job().id, "host_name": "pi", "cores": 4, "warnings": [], **board}
    nodes = [{"name": "stem/conv", "operator": "Conv", "ms": 0.5}]
    yield {"kind": "profile", "task": 0, "model": "a", "sitting": 0, "peak_bytes": 100, "nodes": nodes}
    yield {"kind": "done", "task": 0}
    for turn in range(2):
        figures = {"wall_ms": [1.0, 1.1], "cpu_ms": [1.0, 1.1], "spoilt": False, "throttled": False}
        yield {"kind": "visit", "task": 1, "model": "a", "round": turn, **figures}
    yield {"kind": "done", "task": 1}


def _job() -> Job:
    file = ModelFile("models/0.onnx.gz", "0" * 64, 10)
    return Job(FAST, (Task("profile", ("a",)), Task("time", ("a",))), {"a": file}, {})


def _answers(path: Path) -> None:
    path.with_name("job.json").write_bytes(_job().files([])["job.json"])
    path.write_text("\n".join(map(json.dumps, _lines())), encoding="utf-8")


def _results(path: Path) -> None:
    """What a board of even times answers to a bundle."""
    bundle = path.with_name("board.zip")
    _bundle(bundle)
    with zipfile.ZipFile(bundle) as archive:
        job = json.loads(archive.read("job.json"))
        models = {
            name: onnx.load_from_string(gzip.decompress(archive.read(one["file"])))
            for name, one in job["models"].items()
        }
    lines = [{**next(_lines()), "job": job["id"]}]
    for number, task in enumerate(job["tasks"]):
        for name in task["models"]:
            nodes = [(node.name, node.op_type) for node in models[name].graph.node]
            ms = 0.1 + 0.01 * len(nodes)
            place, kind = {"task": number, "model": name}, task["kind"]
            turns = range(FAST.rounds if kind == "time" else FAST.profile_sittings)
            lines += [{**place, **_measured_once(kind, turn, nodes, ms)} for turn in turns]
        lines.append({"kind": "done", "task": number})
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


def _measured_once(kind: str, turn: int, nodes: list[tuple[str, str]], ms: float) -> dict[str, object]:
    if kind == "profile":
        times = [{"name": name, "operator": operator, "ms": 0.01} for name, operator in nodes]
        return {"kind": "profile", "sitting": turn, "peak_bytes": 1000, "nodes": times}
    state = {"spoilt": False, "throttled": False}
    return {"kind": "visit", "round": turn, "wall_ms": [ms, 1.01 * ms], "cpu_ms": [ms, ms], **state}


def _own_results(path: Path) -> None:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in _lines()), encoding="utf-8")


def _official(path: Path) -> None:
    torch.save(flat_tensors(MOBILENET), path)


def _official_predictor(path: Path) -> None:
    shapes: dict[str, tuple[int, ...]] = {f"{layer}.weight": shape for layer, shape in SHAPES.items()}
    shapes |= {f"{layer}.bias": shape[:1] for layer, shape in SHAPES.items()}
    torch.save({name: torch.zeros(1).expand(shape) for name, shape in shapes.items()}, path)


RUN = """
data = "photos"
[train]
space = "tiny"
epochs = 2
batch_size = 40
[collect]
count = 30
[fit]
kind = "additive"
[search]
macs = "1M"
[export]
precision = "int8"
"""


def _run_file(path: Path) -> None:
    path.write_text(RUN, encoding="utf-8")


def _run_record(path: Path) -> None:
    from ofa_nas.pipeline.running.run_folder import RunFolder, Step, StepRecord

    step = Step("search", (("search", "--seed", "0"),), {"one": "0" * 64}, (path.parent / "subnet.onnx",))
    folder = RunFolder(path.parent)
    folder.steps["search"] = StepRecord.begin(step, seed=0, before=None).finish(step)
    folder.save(settings={"seed": 0})


def _search_document(path: Path) -> None:
    from ofa_nas.cli import main

    exact_table(TINY).save(path.with_name("table.json"))
    arguments = [
        "--supernet",
        _SMALL[0].name,
        "--device",
        str(path.with_name("table.json")),
        "--latency",
        "9s",
    ]
    assert (
        main(["search", *arguments, "--json-file", str(path), "--export", str(path.with_name("n.onnx"))]) == 0
    )


def _verification(path: Path) -> None:
    search = path.with_name("search.json")
    _search_document(search)
    document = json.loads(search.read_text(encoding="utf-8"))
    checks, document["checks"] = document["checks"], []
    assert checks
    search.write_text(json.dumps(document), encoding="utf-8")
    verified = {"architecture": document["architecture"], "checks": checks}
    path.write_text(json.dumps(verified), encoding="utf-8")


def _study(address: str) -> None:
    from ofa_nas.search.study import Objective, Study

    study = Study.open(
        open_storage(address),
        "mine",
        where=address,
        objectives=(Objective("top-1", is_maximised=True), Objective("MACs")),
        choices={"size": (16, 32), "block": ("none", "3x2")},
        about={"the weights": "0123"},
        every_s=0.05,
    )
    for key in "abc":
        study.enqueue(key, {"size": 32, "block": "3x2"}, {"predicted": 0.5})
    for _ in range(2):
        trial = study.claim(limit=9)
        assert trial
        if trial.key == "a":
            study.complete(trial, (0.5, 1e6), {"images": 100})


_MAKERS: dict[str, Callable[[Path], object]] = {
    "space": _space,
    "recipe": _recipe,
    "roofline": _roofline,
    "measured table": _measured,
    "roofline table": _roofline_table,
    "estimated table": _estimated,
    "imported table": _imported,
    "verified table": _verified,
    "card": _copy_small,
    "additive predictor": lambda path: _predictor("additive", path),
    "gp predictor": lambda path: _predictor("additive_gp", path),
    "mlp predictor": lambda path: _predictor("mlp", path),
    "macs predictor": lambda path: _predictor("macs", path),
    "samples": _copy_small,
    "history": _history,
    "weights": _copy_small,
    "checkpoint": _checkpoint,
    "transfer checkpoint": _transfer,
    "onnx": _onnx,
    "onnx in a session": _onnx,
    "onnx of others": _foreign,
    "images": _copy_small,
    **{
        reader.name: lambda path: write_data(_SMALL[0], path)
        for reader in DATA_READERS
        if reader.name != "images"
    },
    "timings of networks": _networks,
    "timings of blocks": _blocks,
    "look-up table": lambda path: write_file(path, WIDE_PX),
    "bundle": _bundle,
    "answers": _answers,
    "results of a board": _results,
    "results on a board": _own_results,
    "pretrained weights": _pretrained,
    "official checkpoint": _official,
    "official predictor": _official_predictor,
    "run file": _run_file,
    "run record": _run_record,
    "search document": _search_document,
    "verification": _verification,
    "journal": lambda path: _study(f"journal:{path}"),
    "database": lambda path: _study(f"sqlite:///{path}"),
}
WIDE_PX = 224
