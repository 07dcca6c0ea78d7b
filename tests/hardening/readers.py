"""Every kind of file that the tool reads: a valid sample, how it is spoilt, and how it is read and used.

A new reader is one line of `READERS` and a function that reads a path and uses what it got.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from ofa_nas import files
from ofa_nas.cli.console import _to_json
from ofa_nas.devices import agent
from ofa_nas.devices.job import Answers, Job
from ofa_nas.errors import DeviceError, FileError, OfaNasError
from ofa_nas.export.card import ModelCard, read_model
from ofa_nas.export.foreign import class_count, image_size, model_precision, read_classifier
from ofa_nas.export.ort_model import OrtModel
from ofa_nas.latency.bundle import _read_about, _read_job
from ofa_nas.latency.bundle import collect as collect_results
from ofa_nas.latency.calibration import calibrate
from ofa_nas.latency.lookup_table import Origin, import_lookup_tables
from ofa_nas.latency.roofline import Roofline
from ofa_nas.latency.table import LatencyTable
from ofa_nas.latency.timings import read_timings
from ofa_nas.pipeline.running.run_file import RunFile, flags
from ofa_nas.pipeline.running.run_folder import RunFolder, Step
from ofa_nas.predictor_file import load_predictor
from ofa_nas.predictors import Observations
from ofa_nas.report.page import report_page
from ofa_nas.report.reader import read_search
from ofa_nas.sample_store import SampleStore
from ofa_nas.search.storage import open_storage
from ofa_nas.search.study import Objective, Study, counted_trials
from ofa_nas.space.costs import layer_macs, network_macs, tabulate
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.checkpoint import load_supernet
from ofa_nas.supernet.official import read_official
from ofa_nas.supernet.official_predictor import read_official_predictor
from ofa_nas.supernet.pretrained import efficientnet_lite0
from ofa_nas.supernet_card import SupernetCard, SupernetFiles
from ofa_nas.training.history import History
from ofa_nas.training.loop import StepReport
from ofa_nas.training.recipe import Recipe
from ofa_nas.training.train import EpochReport
from tests.hardening.data_readers import DATA_READERS
from tests.hardening.formats import (
    from_bundle,
    from_csv,
    from_lines,
    from_onnx,
    from_pth,
    from_tensors,
    from_toml,
    from_yaml,
    to_bundle,
    to_csv,
    to_lines,
    to_onnx,
    to_pth,
    to_tensors,
    to_toml,
    to_yaml,
)
from tests.hardening.reading import Reader
from tests.predictors.worlds import interval

TINY = SearchSpace.load("tiny")
ENCODING = Encoding.of(TINY)
GENES = ENCODING.sample(4, np.random.default_rng(0))
WIDE = SearchSpace.load("mobilenet_v3_w1.2")


def _use_space(space: SearchSpace) -> None:
    for arch in (space.smallest, space.largest, space.middle):
        assert network_macs(space, space.parse(str(arch))) > 0
    encoding = Encoding.of(space)
    tabulate(encoding, layer_macs)
    _to_json({"cardinality": space.cardinality, **space.to_document()})


def read_space(path: Path) -> None:
    _use_space(SearchSpace.load(str(path)))


def read_recipe(path: Path) -> None:
    recipe = Recipe.load(str(path))
    for images in (1000, 10**6):
        recipe.position(recipe.total_steps(images) // 2, images)
    json.dumps(recipe.total_steps(10))


def read_roofline(path: Path) -> None:
    board = Roofline.load(str(path))
    board.model.layer_ms(next(TINY.layers(TINY.largest)))


def write_again(table: LatencyTable, path: Path) -> None:
    table.save(path.with_name("again.json"))
    try:
        again = LatencyTable.load(path.with_name("again.json"))
    except OfaNasError as error:
        raise AssertionError(f"what was read cannot be read again: {error}") from error
    assert again.provenance == table.provenance


def read_table(path: Path) -> None:
    from ofa_nas.latency.lint import lint_table

    table = LatencyTable.load(path)
    for arch in (TINY.smallest, TINY.largest):
        try:
            assert table.latency_ms(TINY, arch) is not None
        except OfaNasError as error:
            assert table.name in str(error)  # noqa: PT017
    write_again(table, path)
    lint_table(table)


def read_card(path: Path) -> None:
    own = SupernetFiles(path.with_name("supernet.safetensors"))
    card = SupernetCard.load(path)
    card.save(path.with_name("again.json"))
    assert SupernetCard.load(path.with_name("again.json")) == card
    _use_space(card.space)
    load_supernet(own)


def read_predictor(path: Path) -> None:
    card = SupernetCard.load(path.with_name("supernet.json"))
    found = load_predictor(path, encoding_of_small(path), weights=card.sha256)
    genes = encoding_of_small(path).sample(6, np.random.default_rng(0))
    predicted = found.predictor.predict(genes)
    assert predicted.shape == (6,)
    assert np.isfinite(predicted).all(), predicted
    assert np.isfinite(interval(found.predictor, genes)).all()
    found.predictor.additive(encoding_of_small(path))
    _to_json({"description": found.description, "provenance": found.provenance})


def encoding_of_small(path: Path) -> Encoding:
    return Encoding.of(SupernetCard.load(path.with_name("supernet.json")).space)


def read_samples(path: Path) -> None:
    samples = SampleStore(path).read()
    for sample in samples:
        _to_json([sample.accuracy, sample.variance, sample.halves, sample])
        str(sample).encode()
    if len(samples) >= 8:
        Observations.of(encoding_of_small(path), samples)


def read_history(path: Path) -> None:
    history = History(path.parent, EpochReport)
    for report in history.epochs():
        f"{report.epoch:.2f} {report.loss:.3f} {report.smallest:.1%} {report.elapsed_s / 60:.1f}"
        _to_json(report)
    history.add(StepReport(3, 40, "sandwich", 1.0, 0.1, 100.0))


def read_weights(path: Path) -> None:
    own = SupernetFiles(path)
    if path.is_file() and path.stat().st_size < 1 << 30:
        card = json.loads(own.card.read_text(encoding="utf-8"))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        own.card.write_text(json.dumps({**card, "sha256": digest}), encoding="utf-8")
    load_supernet(own)


def read_checkpoint(path: Path) -> None:
    from tests.hardening.samples import resume

    resume(path)


def read_onnx(path: Path) -> None:
    model = read_model(path)
    card = ModelCard.from_model(model, path)
    card.to_metadata()
    _to_json({"predicted": card.predicted, "latencies": card.latencies, "arch": card.arch})
    _use_space(card.space)


def run_onnx(path: Path) -> None:
    """Read a file as `verify` does, and classify with it."""
    model = read_model(path)
    card = ModelCard.from_model(model, path)
    OrtModel(model, card.normalization, name=str(path)).logits(np.zeros((2, 32, 32, 3), np.uint8))


def read_foreign(path: Path) -> None:
    model = read_classifier(path)
    assert class_count(model) > 1
    assert min(image_size(model)) > 0
    assert model_precision(model) in ("fp32", "fp16", "int8")


def read_csv(path: Path) -> None:
    calibrate(Roofline.load("rpi4"), read_timings(path))


def read_yaml(path: Path) -> None:
    table = import_lookup_tables([path], WIDE, name="mine", origin=Origin("a phone"))
    write_again(table, path)


def read_bundle(path: Path) -> None:
    job = _read_job(path)
    about = _read_about(job, path)
    _use_space(about.space)


def read_results(path: Path) -> None:
    found = collect_results(path, path.with_name("board.zip"), name="mine")
    write_again(found.table, path)


def read_own_results(path: Path) -> None:
    """As the agent on the board does before it goes on."""
    try:
        results = agent.Results(str(path), None)
    except agent.AgentError as error:
        raise DeviceError(str(error)) from error
    results.of_task(0)
    agent.done_tasks(results)
    results.file.close()


def read_answers(path: Path) -> None:
    job = Job.parse(path.with_name("job.json").read_bytes(), where=str(path), error=FileError)
    answers = Answers(job, str(path), FileError, fix="again")
    for line in files.read_bytes(path, error=FileError).split(b"\n"):
        answers.read(line)


def read_official_weights(path: Path) -> None:
    read_official(path)


def read_official_accuracies(path: Path) -> None:
    from dataclasses import replace

    space = replace(WIDE, resolutions=(128, 160, 176, 224))
    read_official_predictor(path, Encoding.of(space)).predict(
        Encoding.of(space).sample(2, np.random.default_rng(0))
    )


def read_study(address: str) -> None:
    study = Study.open(
        open_storage(address),
        "mine",
        where=address,
        objectives=(Objective("top-1", is_maximised=True), Objective("MACs")),
        choices={"size": (16, 32), "block": ("none", "3x2")},
        about={"the weights": "0123"},
        every_s=0.05,
    )
    for trial in counted_trials(study.trials()):
        assert trial.attempt + trial.place is not None
    study.put_back_lost()
    study.enqueue("z", {"size": 32, "block": "3x2"}, {"predicted": 0.5})
    claimed = study.claim(limit=9)
    if claimed:
        study.complete(claimed, (0.5, 1.0), {"images": 5})
    study.trials()


def read_journal(path: Path) -> None:
    read_study(f"journal:{path}")


def read_database(path: Path) -> None:
    read_study(f"sqlite:///{path}")


def read_run_file(path: Path) -> None:
    run = RunFile.read(path)
    assert set(run.search.budgets) <= {"latency", "peak_memory", "model_size", "macs"}
    for table in (run.train, run.collect, run.profile, run.export):
        if table is not None:
            flags(table)


def read_run_record(path: Path) -> None:
    folder = RunFolder(path.parent)
    step = Step("search", (("search", "--seed", "0"),), {"one": "0" * 64}, (path.parent / "subnet.onnx",))
    folder.why(step)
    for record in folder.steps.values():
        record.finish(step)
        f"{record.seconds:.1f} {record.status} {record.parts}"
    folder.save(settings={})
    RunFolder(path.parent)


def read_search_document(path: Path) -> None:
    page = report_page(read_search(path))
    assert page.rstrip().endswith("</html>")
    page.encode()


def read_run_folder(path: Path) -> None:
    """What a search and a check left in the folder of a run, as a report reads it."""
    assert report_page(read_search(path.parent)).rstrip().endswith("</html>")


def read_transfer(path: Path) -> None:
    from tests.hardening.samples import go_on

    go_on(path)


def read_pretrained(path: Path) -> None:
    efficientnet_lite0.read_weights(path)


READERS = (
    Reader("space", "mine.toml", read_space, from_toml, to_toml),
    Reader("recipe", "mine.toml", read_recipe, from_toml, to_toml),
    Reader("roofline", "mine.toml", read_roofline, from_toml, to_toml),
    Reader("measured table", "mine.json", read_table, json.loads),
    Reader("roofline table", "mine.json", read_table, json.loads),
    Reader("estimated table", "mine.json", read_table, json.loads),
    Reader("imported table", "mine.json", read_table, json.loads),
    Reader("verified table", "mine.json", read_table, json.loads),
    Reader("card", "supernet.json", read_card, json.loads),
    Reader("additive predictor", "supernet.predictor.json", read_predictor, json.loads),
    Reader("gp predictor", "supernet.predictor.json", read_predictor, json.loads),
    Reader("mlp predictor", "supernet.predictor.json", read_predictor, json.loads),
    Reader("macs predictor", "supernet.predictor.json", read_predictor, json.loads),
    Reader("samples", "supernet.samples.jsonl", read_samples, from_lines, to_lines),
    Reader("history", "history.jsonl", read_history, from_lines, to_lines),
    Reader("weights", "supernet.safetensors", read_weights, from_tensors, to_tensors),
    Reader("checkpoint", "checkpoint.safetensors", read_checkpoint, from_tensors, to_tensors),
    Reader("transfer checkpoint", "checkpoint.safetensors", read_transfer, from_tensors, to_tensors),
    Reader("onnx", "subnet.onnx", read_onnx, from_onnx, to_onnx),
    Reader("onnx in a session", "subnet.onnx", run_onnx),
    Reader("onnx of others", "others.onnx", read_foreign),
    *DATA_READERS,
    Reader("timings of networks", "mine.csv", read_csv, from_csv, to_csv),
    Reader("timings of blocks", "mine.csv", read_csv, from_csv, to_csv),
    Reader("look-up table", "mine.yaml", read_yaml, from_yaml, to_yaml),
    Reader("bundle", "mine.zip", read_bundle, from_bundle, to_bundle),
    Reader("answers", "results.jsonl", read_answers, from_lines, to_lines),
    Reader("results of a board", "results.jsonl", read_results, from_lines, to_lines),
    Reader("results on a board", "results.jsonl", read_own_results, from_lines, to_lines),
    Reader("pretrained weights", "mine.pth", read_pretrained, from_pth, to_pth),
    Reader("official checkpoint", "mine.pth", read_official_weights, from_pth, to_pth),
    Reader("official predictor", "mine.pth", read_official_accuracies, from_pth, to_pth),
    Reader("run file", "mine.toml", read_run_file, from_toml, to_toml),
    Reader("run record", "run.json", read_run_record, json.loads),
    Reader("search document", "search.json", read_search_document, json.loads),
    Reader("verification", "verification.json", read_run_folder, json.loads),
    Reader("journal", "study.log", read_journal, from_lines, to_lines),
    Reader("database", "study.db", read_database),
)
BY_NAME = {reader.name: reader for reader in READERS}
