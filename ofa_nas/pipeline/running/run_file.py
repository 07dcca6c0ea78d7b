"""The file of `ofa-nas run`: what is to be done from images to a checked ONNX file; strict TOML."""

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self, TypeVar, cast, get_args

from ofa_nas.assets import DEFAULT_SUPERNET
from ofa_nas.data import Flip
from ofa_nas.errors import ConfigError
from ofa_nas.precisions import FILE_PRECISIONS, FP16, FP32
from ofa_nas.predictors import MIN_SAMPLES
from ofa_nas.randomness import MOST_SEED
from ofa_nas.search.budgets import KINDS, OBJECTIVES
from ofa_nas.section import Section, read_toml
from ofa_nas.supernet_card import FITS, Fit
from ofa_nas.training.phase import limited_integer, limited_number

_T = TypeVar("_T")
_MOST = 1_000_000_000
_TORCH_DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class TrainTable:
    """`[train]`: options of `ofa-nas train`; None leaves them to it."""

    start: str | None = None
    space: str | None = None
    recipe: str = "sandwich"
    epochs: float | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    random_subnets: int | None = None
    crop_scale: float | None = None
    flip: Flip | None = None
    brightness: float | None = None
    saturation: float | None = None
    balance: float | None = None
    image_size: int | None = None
    fit: Fit | None = None
    held_out: int | None = None
    checkpoint_minutes: float | None = None
    tensorboard: bool = False
    device: str | None = None

    @classmethod
    def read(cls, section: Section) -> Self:
        """Read the table."""
        table = cls(
            start=_text(section, "from"),
            space=_text(section, "space"),
            recipe=section.text("recipe", default="sandwich"),
            epochs=_given(section, "epochs", limited_number),
            batch_size=_given(section, "batch_size", limited_integer),
            learning_rate=_given(section, "learning_rate", limited_number),
            random_subnets=_given(section, "random_subnets", limited_integer),
            crop_scale=_given(section, "crop_scale", limited_number),
            flip=cast("Flip | None", _text(section, "flip", choices=get_args(Flip))),
            brightness=_given(section, "brightness", limited_number),
            saturation=_given(section, "saturation", limited_number),
            balance=_given(section, "balance", limited_number),
            image_size=_integer(section, "image_size", minimum=8, maximum=4096),
            fit=cast(Fit | None, _text(section, "fit", choices=FITS)),
            held_out=_integer(section, "held_out"),
            checkpoint_minutes=_number(section, "checkpoint_minutes", minimum=0.0, maximum=1e6),
            tensorboard=section.flag("tensorboard", default=False),
            device=_torch_device(section),
        )
        section.close()
        return table


@dataclass(frozen=True, slots=True)
class CollectTable:
    """`[collect]`: options of `ofa-nas predictor collect`.

    Attributes:
        count: Subnets spread over the space; as many as a predictor needs, at least.
        near_front: Subnets of the front that the first predictor finds, in a second round; 0 for none.
        images: For each.
        until: When `count` may stop early.
    """

    count: int = 120
    near_front: int = 40
    images: int = 2000
    until: str | None = None
    device: str | None = None

    @classmethod
    def read(cls, section: Section) -> Self:
        """Read the table."""
        table = cls(
            count=section.integer("count", default=cls().count, minimum=MIN_SAMPLES),
            near_front=section.integer("near_front", default=cls().near_front, minimum=0),
            images=section.integer("images", default=cls().images, maximum=_MOST),
            until=_text(section, "until"),
            device=_torch_device(section),
        )
        section.close()
        return table


@dataclass(frozen=True, slots=True)
class ProfileTable:
    """`[profile]`: options of `ofa-nas profile`; None leaves them to it."""

    rounds: int | None = None
    resolution: tuple[int, ...] | None = None
    clock: str | None = None

    @classmethod
    def read(cls, section: Section) -> Self:
        """Read the table."""
        table = cls(
            rounds=_integer(section, "rounds", maximum=1000),
            resolution=section.integers("resolution") if section.has("resolution") else None,
            clock=_text(section, "clock", choices=("wall", "cpu")),
        )
        section.close()
        return table


@dataclass(frozen=True, slots=True)
class SearchTable:
    """`[search]`: options of `ofa-nas search`; None leaves them to it.

    Attributes:
        device: An address is measured first; else a latency table by its name or file.
        objective: What is to be least where `accuracy` is to be reached; None for the most accuracy.
        measure: Address of the device, beside a table.
        threads: Of ONNX Runtime, for table, finalists and verification.
        contest: Evaluate the best candidates on the images before one is chosen.
    """

    device: str | None = None
    latency: str | None = None
    peak_memory: str | None = None
    model_size: str | None = None
    macs: str | None = None
    objective: str | None = None
    accuracy: str | None = None
    margin: str | None = None
    measure: str | None = None
    finalists: int | None = None
    method: str | None = None
    threads: int = 1
    contest: bool = False
    images: int | None = None
    seeds: int | None = None
    evaluations: int | None = None

    @classmethod
    def read(cls, section: Section) -> Self:
        """Read the table."""
        table = cls(
            device=_text(section, "device"),
            latency=_text(section, "latency"),
            peak_memory=_text(section, "peak_memory"),
            model_size=_text(section, "model_size"),
            macs=_text(section, "macs"),
            objective=_text(section, "objective", choices=tuple(OBJECTIVES)),
            accuracy=_text(section, "accuracy"),
            margin=_text(section, "margin"),
            measure=_text(section, "measure"),
            finalists=_integer(section, "finalists", minimum=0),
            method=_text(section, "method"),
            threads=section.integer("threads", default=1, maximum=1024),
            contest=section.flag("contest", default=False),
            images=_integer(section, "images", maximum=_MOST),
            seeds=_integer(section, "seeds", maximum=1000),
            evaluations=_integer(section, "evaluations", maximum=_MOST),
        )
        section.close()
        return table

    @property
    def budgets(self) -> dict[str, str]:
        """The budgets that were given, by name."""
        return {name: text for name in KINDS if (text := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True)
class ExportTable:
    """`[export]`: options of `ofa-nas export`; the search is one for files of that precision."""

    precision: str = FP32
    batch: str | None = None
    preprocess: bool = False

    @classmethod
    def read(cls, section: Section) -> Self:
        """Read the table."""
        table = cls(
            precision=section.text("precision", default=FP32, choices=FILE_PRECISIONS),
            batch=_batch(section),
            preprocess=section.flag("preprocess", default=False),
        )
        section.close()
        return table

    @property
    def predicted(self) -> str:
        """The precision that is searched in: nobody predicts fp16, which a CPU computes in fp32."""
        return FP32 if self.precision == FP16 else self.precision


@dataclass(frozen=True, slots=True)
class RunFile:
    """A whole run file.

    Attributes:
        path: Of the file; relative paths in it begin at its folder.
        folder: Of the run.
        data: Data set, as `open_data` takes it; None where none is needed.
        supernet: Where a run without `[train]` begins.
        train: None to begin with a supernet that exists.
        collect: None where the supernet has a predictor, which is taken as it is.
        kind: Of the predictor; None leaves it to `ofa-nas predictor fit`.
        report: Whether to end with a page; None for a page where one can be made.
        threads: CPU threads of training and evaluation; None for all cores, or what a CPU quota leaves.
        seed: Of everything random.
    """

    path: Path
    folder: Path
    data: str | None
    supernet: str
    train: TrainTable | None
    collect: CollectTable | None
    kind: str | None
    profile: ProfileTable
    search: SearchTable
    export: ExportTable
    report: bool | None
    threads: int | None
    seed: int

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a run file; what its values mean is not looked at yet.

        Raises:
            ConfigError: The file is missing, is no TOML, or a key is unknown or of the wrong type; the
                message names the key path.
        """
        root = read_toml(path, error=ConfigError)
        train = _table(root, "train", TrainTable.read)
        if train is not None and "supernet" in root.content:
            raise ConfigError(
                f"{path}: supernet: a run begins with a supernet or with [train]; give train.from to train "
                "on from one"
            )
        fit = root.section("fit") if root.has("fit") else None
        kind = None if fit is None else _text(fit, "kind")
        if fit is not None:
            fit.close()
        run = cls(
            path=path,
            folder=Path(root.text("folder", default=f"runs/{path.stem}")),
            data=_text(root, "data"),
            supernet=root.text("supernet", default=DEFAULT_SUPERNET),
            train=train,
            collect=_table(root, "collect", CollectTable.read) or (CollectTable() if train else None),
            kind=kind,
            profile=_table(root, "profile", ProfileTable.read) or ProfileTable(),
            search=SearchTable.read(root.section("search")),
            export=_table(root, "export", ExportTable.read) or ExportTable(),
            report=root.flag("report") if root.has("report") else None,
            threads=_integer(root, "threads", maximum=1024),
            seed=root.integer("seed", default=0, minimum=0, maximum=MOST_SEED),
        )
        root.close()
        return run


def flags(table: object, *, without: tuple[str, ...] = ()) -> list[str]:
    """Options of a command line: one a field that was given, under its name.

    Args:
        table: A table of a run file.
        without: Fields to leave out.
    """
    words: list[str] = []
    for field in fields(table):  # type: ignore[arg-type]  # every table is a dataclass
        value = getattr(table, field.name)
        if field.name in without or value is None or value is False:
            continue
        words.append("--from" if field.name == "start" else f"--{field.name.replace('_', '-')}")
        if value is not True:
            words += map(str, value) if isinstance(value, tuple) else [str(value)]
    return words


def _table(root: Section, key: str, read: Callable[[Section], _T]) -> _T | None:
    return read(root.section(key)) if root.has(key) else None


def _given(section: Section, key: str, read: Callable[[Section, str], _T]) -> _T | None:
    return read(section, key) if section.has(key) else None


def _text(section: Section, key: str, *, choices: tuple[str, ...] = ()) -> str | None:
    return section.text(key, choices=choices) if section.has(key) else None


def _torch_device(section: Section) -> str | None:
    """The name of a device of torch; whether it is there, the training finds out."""
    name = _text(section, "device")
    if name is not None and not _TORCH_DEVICE.fullmatch(name):
        raise section.refusal("device", f"expected auto, cpu, cuda or cuda:N, got {name!r:.80}")
    return name


def _batch(section: Section) -> str | None:
    """A number of images, or `dynamic`."""
    if isinstance(section.content.get("batch"), str):
        return section.text("batch", choices=("dynamic",))
    batch = _integer(section, "batch", maximum=256)  # LARGEST_BATCH of ofa_nas.export, which imports onnx
    return None if batch is None else str(batch)


def _integer(section: Section, key: str, *, minimum: int = 1, maximum: int = 100_000) -> int | None:
    return section.integer(key, minimum=minimum, maximum=maximum) if section.has(key) else None


def _number(section: Section, key: str, *, minimum: float, maximum: float) -> float | None:
    return section.number(key, minimum=minimum, maximum=maximum) if section.has(key) else None
