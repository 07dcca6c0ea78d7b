"""Everything of a run file that can be wrong is found before the first step begins; torch is not imported."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ofa_nas.assets import DEFAULT_SPACE
from ofa_nas.data import DataSet, check_input, space_for
from ofa_nas.data.dataset import fitted, open_data
from ofa_nas.data.windows import split_windows, windows_like
from ofa_nas.devices import MeasuringProtocol, backend_of, check_address, is_address, open_device, provider_of
from ofa_nas.devices.provided import with_provider
from ofa_nas.errors import BudgetError, ConfigError, OfaNasError
from ofa_nas.export.interface import FileForm
from ofa_nas.files import check_folder_writable
from ofa_nas.latency.profile import check_request
from ofa_nas.latency.table import LatencyTable
from ofa_nas.latency.verification import check_provider
from ofa_nas.pipeline.evaluating.evaluation import check_fit
from ofa_nas.pipeline.predicting.collecting import Aim
from ofa_nas.pipeline.predicting.predictor_fit import AUTO
from ofa_nas.pipeline.running.run_file import ProfileTable, RunFile, SearchTable, TrainTable
from ofa_nas.pipeline.searching.estimators import shared_space, unlimited_costs
from ofa_nas.pipeline.searching.reach import check_reach
from ofa_nas.pipeline.searching.search import with_margin
from ofa_nas.pipeline.tables.device_table import device_table
from ofa_nas.plugins import check_trusted
from ofa_nas.predictors import load_module
from ofa_nas.search.budgets import (
    KINDS,
    budget_levels,
    parse_accuracy,
    parse_budget,
    parse_budgets,
    parse_margin,
)
from ofa_nas.search.feasibility import BudgetedCost
from ofa_nas.search.methods import load_method
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.pretrained import PretrainedNetwork
from ofa_nas.supernet.starts import check_space, find_start
from ofa_nas.supernet_card import SupernetCard, SupernetFiles
from ofa_nas.training.recipe import Recipe, Settings
from ofa_nas.training.splits import check_halves

_DIGEST_EVERY = 256  # images between two records of progress


@dataclass(frozen=True, slots=True)
class Facts:
    """What a run file turned out to mean.

    Attributes:
        data: Opened; None where none is needed.
        space: With the classes that the supernet has or will have.
        start: Weights that the run or its training begins with; None for noise and for pretrained networks.
        texts: Files of the user's own that say how to train: recipe and search space.
        table: Latency table that was given by its name or path; None where there is none yet.
        address: Of the device on which the file is timed; empty for nowhere.
        is_collected: Whether the supernet is to have a predictor of the run's own.
        is_reported: Whether the run ends with a page.
    """

    data: DataSet | None
    space: SearchSpace
    start: SupernetFiles | None
    texts: tuple[Path, ...]
    table: LatencyTable | None
    address: str
    is_collected: bool
    is_reported: bool


def check_run(run: RunFile) -> Facts:
    """Look at everything that a run file names.

    Raises:
        ConfigError: Names the file, the key path, and what would be right.
    """
    with _key(run, "folder"):
        check_folder_writable(run.folder)
    data: DataSet | None
    start: SupernetFiles | None
    if run.train is not None:
        is_collected, found = True, _start(run, run.train)
        data = _data(run, found)
        space, texts = _training(run, run.train, found, data)
        start = found if isinstance(found, SupernetFiles) else None
    else:
        start, texts = _supernet(run), ()
        is_collected = run.collect is not None or not start.predictor.is_file()
        data = _data(run, start) if is_collected or run.search.contest else None
        space = _classes(run, start, data)
    if run.collect is not None and run.collect.until is not None:
        with _key(run, "collect.until"):
            Aim.parse(run.collect.until)
    if run.kind not in (None, AUTO):
        with _key(run, "fit.kind"):
            check_trusted(str(run.kind))
            load_module(str(run.kind))
    _search(run)
    _export(run, space)
    table, address = _device(run, space)
    _check_reach(run, space, table)
    return Facts(data, space, start, texts, table, address, is_collected, _is_reported(run))


def _is_reported(run: RunFile) -> bool:
    can_be = find_spec("plotly") is not None
    if run.report and not can_be:
        raise ConfigError(f"{run.path}: report: needs the package plotly: pip install 'ofa-nas[report]'")
    return can_be if run.report is None else run.report


@contextmanager
def _key(run: RunFile, key: str) -> Iterator[None]:
    """Tell where in the run file an error lies."""
    try:
        yield
    except OfaNasError as error:
        raise ConfigError(f"{run.path}: {key}: {error}") from error


def _supernet(run: RunFile) -> SupernetFiles:
    with _key(run, "supernet"):
        files = SupernetFiles.find(run.supernet)
        _space_of(files)
    return files


def _space_of(start: SupernetFiles | PretrainedNetwork) -> SearchSpace:
    """The space of weights that are there."""
    if not isinstance(start, SupernetFiles):
        return SearchSpace.load(start.SPACE)
    card = SupernetCard.load(start.card)
    card.check_weights(start.name)
    return card.space


def _data(run: RunFile, start: SupernetFiles | PretrainedNetwork | None) -> DataSet:
    """The images; of signals, the windows of what the run starts from."""
    if run.data is None:
        raise ConfigError(
            f"{run.path}: data: is missing: training, collecting and search.contest need images; give a "
            "folder with one sub-folder per class"
        )
    with _key(run, "data"):
        name, text = split_windows(run.data)[0], run.data
        if not os.path.isdir(name):  # noqa: PTH112 - Path would raise for a name that is too long
            check_trusted(name.partition("=")[0])
        if isinstance(start, SupernetFiles):
            text = windows_like(text, SupernetCard.load(start.card))
        data = open_data(text)
        check_halves(data)
    return data


def _classes(run: RunFile, start: SupernetFiles, data: DataSet | None) -> SearchSpace:
    """The space of a supernet that is not trained; the data must be such as it takes, of its classes."""
    card = SupernetCard.load(start.card)
    if data is not None:
        with _key(run, "data"):
            check_fit(data.val, card)
    return card.space


def _start(run: RunFile, table: TrainTable) -> SupernetFiles | PretrainedNetwork | None:
    if table.start is None:
        return None
    with _key(run, "train.from"):
        if not table.start.endswith(".safetensors"):
            check_trusted(table.start)
        return find_start(table.start)


def _training(
    run: RunFile, table: TrainTable, found: SupernetFiles | PretrainedNetwork | None, data: DataSet
) -> tuple[SearchSpace, tuple[Path, ...]]:
    """Space and text files of a training."""
    with _key(run, "train.recipe"):
        recipe = Recipe.load(table.recipe)
        recipe = recipe.override(
            Settings(
                table.epochs,
                table.batch_size,
                table.learning_rate,
                table.random_subnets,
                flip=table.flip,
                brightness=table.brightness,
                saturation=table.saturation,
            )
        )
        if data.train.axes == 1:
            recipe.check_signals()
    texts = tuple(Path(text) for text in (table.recipe, table.space) if text and text.endswith(".toml"))
    with _key(run, "train.fit"):
        fitted(data.train, None, fit=table.fit)
    with _key(run, "train.space"):
        named = None if table.space is None else SearchSpace.load(table.space)
        if table.start is None or found is None:
            return space_for(named or SearchSpace.load(DEFAULT_SPACE), data), texts
    with _key(run, "train.from"):
        own = _space_of(found)
        if named is not None:
            check_space(named, own, start=table.start)
            own = named
        check_input(data.train, own)
    return own.with_classes(len(data.class_names)), texts


def _search(run: RunFile) -> None:
    """Budgets and the rest of `[search]`."""
    table = run.search
    for name, text in table.budgets.items():
        with _key(run, f"search.{name}"):
            if len(budget_levels(parse_budgets(name, text, device=table.device or ""))) > 1:
                raise BudgetError(f"{text}: a run ends in one file, so it takes one value")
    if table.latency is not None and table.device is None:
        raise ConfigError(f"{run.path}: search.device: is missing: a latency is one of a device")
    if table.margin is not None:
        with _key(run, "search.margin"):
            parse_margin(table.margin)
            if table.latency is None:
                raise BudgetError("is a share of the latency budget, and search.latency is missing")
    if table.method is not None:
        with _key(run, "search.method"):
            check_trusted(table.method)
            load_method(table.method)
    _check_objective(run, table)


def _export(run: RunFile, space: SearchSpace) -> None:
    """Whether a file of the space can be such, and keep the budgets."""
    table = run.export
    with _key(run, "export.preprocess"):
        FileForm(has_preprocessing=table.preprocess).check(space)
    limited = [name for name in run.search.budgets if KINDS[name].is_of_one_image]
    if table.batch not in (None, "1", "dynamic") and limited:
        raise ConfigError(
            f"{run.path}: export.batch: {table.batch}: a search limits the {KINDS[limited[0]].title} of one "
            f'image at a time: leave out search.{limited[0]}, or give batch = "dynamic"'
        )


def _check_objective(run: RunFile, table: SearchTable) -> None:
    if (table.objective is None) != (table.accuracy is None):
        raise ConfigError(
            f"{run.path}: search.accuracy: is reached at the least of search.objective; give both or neither"
        )
    if table.accuracy is not None:
        with _key(run, "search.accuracy"):
            parse_accuracy(table.accuracy)
    if table.objective == "latency" and table.device is None:
        raise ConfigError(f"{run.path}: search.device: is missing: a latency is one of a device")
    if table.contest and table.objective is not None:
        raise ConfigError(
            f"{run.path}: search.contest: orders candidates by accuracy, not by another objective"
        )
    if table.images is not None and not table.contest:
        raise ConfigError(f"{run.path}: search.images: are those of a contest; add contest = true")


def _device(run: RunFile, space: SearchSpace) -> tuple[LatencyTable | None, str]:
    """The device's table where there is one already, and the address where the file is timed."""
    device, measure = run.search.device, run.search.measure
    is_measured = device is not None and is_address(device)
    if is_measured and measure not in (None, device):
        raise ConfigError(f"{run.path}: search.measure: search.device is an address already: leave this out")
    address = device if is_measured else measure
    if address is not None:
        with _key(run, "search.device" if is_measured else "search.measure"):
            check_address(address)
            check_trusted(backend_of(address))
            open_device(address)
    if device is None and address is None and run.search.threads != 1:
        raise ConfigError(f"{run.path}: search.threads: are ONNX Runtime's on a device: add search.device")
    if (device is None or address is None) and run.search.finalists is not None and not run.search.contest:
        raise ConfigError(
            f"{run.path}: search.finalists: are timed on a device, or evaluated; give its table as "
            "search.device and its address as search.measure, or add contest = true"
        )
    _check_profile(run, space, is_measured=is_measured)
    if device is None or is_measured:
        return None, address or ""
    with _key(run, "search.device"):
        *_, table = device_table(device, space, threads=run.search.threads, precision=run.export.predicted)
    assert isinstance(table, LatencyTable)
    address = with_provider(address or "", table.provider)
    with _key(run, "search.measure"):
        check_provider(table, {"provider": provider_of(address)} if address else {})
    return table, address


def _check_reach(run: RunFile, space: SearchSpace, table: LatencyTable | None) -> None:
    """Refuse budgets that nothing meets; a latency that is still to be measured is not judged."""
    tables = {} if table is None else {table.name: table}
    given = run.search.budgets
    if table is None:
        given.pop("latency", None)
    if not given:
        return
    with _key(run, "search"):
        encoding = Encoding.of(shared_space(space, tuple(tables.values())))
        costs = unlimited_costs(encoding, tuple(tables.values()), precision=run.export.predicted)
        margin = None if run.search.margin is None else parse_margin(run.search.margin)
        limited = []
        for name, text in given.items():
            device = table.name if table is not None and name == "latency" else ""
            budget = with_margin(parse_budget(name, text, device=device), tables, margin)
            limited.append(BudgetedCost(budget, costs[budget.key].table))
        check_reach(limited, precision=run.export.predicted, rng=np.random.default_rng(run.seed))


def _check_profile(run: RunFile, space: SearchSpace, *, is_measured: bool) -> None:
    table = run.profile
    if not is_measured:
        if table != ProfileTable():
            raise ConfigError(f"{run.path}: profile: nothing is measured, for search.device is no address")
        return
    with _key(run, "profile"):
        protocol = MeasuringProtocol(
            threads=run.search.threads,
            clock=table.clock or "wall",
            provider=provider_of(run.search.device or ""),
        )
        check_request(space, protocol, table.resolution or ())


@dataclass(frozen=True, slots=True)
class Reading:
    """How far the images were read: `done` of `total`, and in the last record their digest."""

    done: int
    total: int
    digest: str = ""


def listing_of(data: DataSet) -> str:
    """Digest of names, sizes and times of the images' files: cheap to look at."""
    return hashlib.sha256(f"{data.train.digest}\n{data.val.digest}".encode()).hexdigest()


def read_content(data: DataSet) -> Iterator[Reading]:
    """Read every image and label; the last record holds the digest of their content, wherever it lies."""
    digest, done, total = hashlib.sha256(), 0, len(data.train) + len(data.val)
    for source in (data.train, data.val):
        digest.update("\n".join(source.class_names).encode())
        digest.update(source.labels.tobytes())
        for index in range(len(source)):
            digest.update(source.content(index))
            done += 1
            if done % _DIGEST_EVERY == 0:
                yield Reading(done, total)
    yield Reading(total, total, digest.hexdigest())
