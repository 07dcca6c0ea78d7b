"""The main job as one call: budgets in, a subnet out that can be exported, checked or run.

Importing this imports no torch; neither does a search. Exporting does.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ofa_nas.assets import DEFAULT_SUPERNET
from ofa_nas.devices import check_address, is_address
from ofa_nas.errors import ConfigError
from ofa_nas.figures import format_amount
from ofa_nas.latency.table import LatencyTable
from ofa_nas.pipeline.searching.estimators import Candidate, Estimators
from ofa_nas.pipeline.searching.finalists import ROUNDS, Finals, Site, measure_finalists, pick_finalists
from ofa_nas.pipeline.searching.promise import Place, Places, promise_of_result
from ofa_nas.pipeline.searching.search import SearchResult, search_supernet
from ofa_nas.pipeline.tables.device_table import device_table
from ofa_nas.precisions import FP32
from ofa_nas.search.budgets import KINDS, Budget, parse_budget
from ofa_nas.space.architecture import Architecture
from ofa_nas.supernet_card import SupernetCard, SupernetFiles

if TYPE_CHECKING:
    from ofa_nas.pipeline.delivery.file_verification import Delivery
    from ofa_nas.supernet.supernet import Subnet

Watch = Callable[[object], object]
Amount = str | float  # `30ms`, or a number of milliseconds, bytes or multiply-accumulates
_T = TypeVar("_T")


def _ignore(record: object) -> None:
    pass


@dataclass(frozen=True, repr=False)
class FoundSubnet:
    """What a search chose, and what it can become.

    Attributes:
        result: Of the search, with the front and every prediction.
        estimators: Of the search.
        places: Where the file will be timed, by the names of the devices' tables.
        finals: The best candidates as the first of these devices measured them, before one was chosen; None
            where there is no such device.
    """

    result: SearchResult
    estimators: Estimators
    places: Places
    finals: Finals | None

    def __repr__(self) -> str:
        """Architecture and predictions, for a notebook."""
        one = self.result.chosen
        latencies = [f"{format_amount(ms, 'ms')} on {name}" for name, ms in one.latencies_ms.items()]
        told = [f"top-1 {one.accuracy:.1%}", *latencies, format_amount(one.macs, "MACs")]
        return f"<FoundSubnet {one.architecture}: {', '.join(told)} predicted>"

    @property
    def architecture(self) -> Architecture:
        """The one that was chosen."""
        return self.result.chosen.architecture

    @property
    def accuracy(self) -> float:
        """Top-1 that is predicted, a fraction."""
        return self.result.chosen.accuracy

    @property
    def latencies_ms(self) -> Mapping[str, float]:
        """What is predicted, by the names of the devices' tables [ms]."""
        return self.result.chosen.latencies_ms

    @property
    def front(self) -> tuple[Candidate, ...]:
        """Accuracy against the first cost, by rising cost, within every other budget."""
        return self.result.front

    def export(
        self, output: str | Path, *, has_preprocessing: bool = False, watch: Watch = _ignore
    ) -> "Delivery":
        """Write the subnet as an ONNX file and check what was promised of it.

        Args:
            output: File to write or replace.
            has_preprocessing: Have it take `(1, R, R, 3)` uint8 pixels and normalise them itself.
            watch: Is given each record on the way.

        Returns:
            The checks, and whether every promise is kept.

        Raises:
            CheckpointError: The supernet has no weights or images.
            VerificationError: The file does not compute what the supernet does; it is not written.
            DeviceError: A device on which it is to be timed cannot be reached.
        """
        from ofa_nas.export.interface import FileForm
        from ofa_nas.pipeline.delivery.deliver import deliver
        from ofa_nas.pipeline.delivery.file_verification import Delivery

        form = FileForm(self.estimators.precision, has_preprocessing=has_preprocessing)
        form.check(self.estimators.card.space)
        promise = promise_of_result(self.result, self.estimators, places=self.places)
        records = deliver(self.estimators.files, self.architecture, promise, output=output, form=form)
        return _last(records, Delivery, watch)

    def module(self) -> "Subnet":
        """The subnet as a torch module with weights of its own, batch norm calibrated; it evaluates.

        To train it further, call it with a mode: `module(images, ofa_nas.supernet.elastic.TRAIN_LARGEST)`.

        Raises:
            CheckpointError: The supernet has no weights or images.
        """
        from ofa_nas.data import Normalization
        from ofa_nas.pipeline.evaluating.images import supernet_images
        from ofa_nas.supernet.checkpoint import load_supernet
        from ofa_nas.training.evaluate import calibrated_subnet

        files = self.estimators.files
        supernet, card = load_supernet(files)
        images = supernet_images(files.calibration, "calibration").images
        normalization = Normalization(card.input_mean, card.input_std)
        return calibrated_subnet(supernet, self.architecture, images=images, normalization=normalization)


def find_subnet(  # noqa: PLR0913 - one keyword for each budget is what makes it readable
    supernet: str | Path = DEFAULT_SUPERNET,
    *,
    latency: Mapping[str, Amount | None] | None = None,
    peak_memory: Amount | None = None,
    model_size: Amount | None = None,
    macs: Amount | None = None,
    places: Places | None = None,
    precision: str = FP32,
    margin: float | None = None,
    seed: int = 0,
    watch: Watch = _ignore,
) -> FoundSubnet:
    """The most accurate subnet of a supernet within budgets, as `ofa-nas search` chooses it.

    Args:
        supernet: Shipped name, or the path of a weights file.
        latency: By device, a budget such as `30ms`, or a number [ms]; None for a device whose latency is only
            predicted. A device is the name or file of a latency table, or an address (`host`, `ssh://…`):
            one that has no fresh table is measured first, for minutes, and the first such device times the
            best candidates before one is chosen.
        peak_memory: Of activations, such as `8MB`, or a number [bytes].
        model_size: Of weights, such as `6MB`, or a number [bytes].
        macs: Such as `200M`, or a number.
        places: Where devices of `latency` are timed, and with how many threads, by the same names.
        precision: Of the file, `fp32` or `int8`.
        margin: Share of a latency budget that is kept free; without, the table's p95 error.
        seed: Of everything random.
        watch: Is given each record on the way: `Activity`, `Generation`, `Visit`.

    Raises:
        BudgetError: Nothing keeps the budgets, or a text is no budget.
        CheckpointError: There is no such supernet, or it has no predictor.
        TableError: There is no such table, or it is of another space, precision or number of threads.
        DeviceError: A device cannot be reached or measured.
        ConfigError: `places` names a device that `latency` does not, or an option is wrong.
    """
    _check_by_device(latency)
    latency, card = latency or {}, SupernetCard.load(SupernetFiles.find(supernet).card)
    timed = {device: Place(device) for device in latency if is_address(device)} | dict(places or {})
    _check_places(timed, latency)
    given = {"peak_memory": peak_memory, "model_size": model_size, "macs": macs}
    asked = [
        _budget("latency", amount, device=device) for device, amount in latency.items() if amount is not None
    ]
    asked += [_budget(name, amount) for name, amount in given.items() if amount is not None]
    tables = {}
    for device in latency:
        threads = timed[device].threads if device in timed else 1
        activities = device_table(device, card.space, threads=threads, seed=seed, precision=precision)
        tables[device] = _last(activities, LatencyTable, watch)
    budgets = [replace(one, device=tables[one.device].name) if one.device else one for one in asked]
    estimators = Estimators.load(supernet, *tables.values(), precision=precision)
    records = search_supernet(estimators, budgets, seed=seed, margin=margin)
    result = _last(records, SearchResult, watch)
    named = {tables[device].name: timed[device] for device in latency if device in timed}
    finals = _time_finalists(result, estimators, named, seed=seed, watch=watch)
    if finals is not None:
        result = replace(result, chosen=finals.chosen)
    return FoundSubnet(result, estimators, named, finals)


def _budget(name: str, amount: Amount, *, device: str = "") -> Budget:
    if isinstance(amount, str):
        return parse_budget(name, amount, device=device)
    return Budget(name, float(amount), KINDS[name].unit, device)


def _check_by_device(latency: object) -> None:
    if latency is not None and not isinstance(latency, Mapping):
        example = "{'rpi4': '30ms'}"
        raise ConfigError(f"latency {latency!r:.40}: expected a budget for each device, such as {example}")


def _check_places(places: Places, latency: Mapping[str, Amount | None]) -> None:
    for device, place in places.items():
        if device not in latency:
            known = ", ".join(latency) or "none"
            raise ConfigError(f"places: {device!r:.80}: no such device in latency, which names {known}")
        check_address(place.address)
        if is_address(device) and place.address != device:
            raise ConfigError(f"places: {device!r:.80} is an address already, and not {place.address:.80}")


def _time_finalists(
    result: SearchResult, estimators: Estimators, places: Places, *, seed: int, watch: Watch
) -> Finals | None:
    """The best candidates, timed on the first device at hand; None where there is none."""
    for name, place in places.items():
        site = Site.at(place, estimators.tables[name], seed=seed)
        candidates = pick_finalists(result, name)
        space = estimators.card.space
        return _last(measure_finalists(result, candidates, space, site, rounds=ROUNDS), Finals, watch)
    return None


def _last(records: Iterable[object], kind: type[_T], watch: Watch) -> _T:
    """The record that a stream ends with; the others are watched."""
    for record in records:
        if isinstance(record, kind):
            return record
        watch(record)
    raise AssertionError(f"no {kind.__name__} at the end")
