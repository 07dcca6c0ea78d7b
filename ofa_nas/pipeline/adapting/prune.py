"""From a subnet to a pruned one on the disk, exported and checked: lottery tickets, or channels cut out."""

import gzip
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from onnx import TensorProto, numpy_helper

from ofa_nas.activity import Activity
from ofa_nas.data import check_input
from ofa_nas.data.dataset import open_like
from ofa_nas.data.packed import PackProgress
from ofa_nas.errors import ConfigError, FileError
from ofa_nas.export.card import read_model
from ofa_nas.files import read_bytes
from ofa_nas.pipeline.adapting.prune_start import check_known_classes, cut_supernet, dense_supernet, redraw
from ofa_nas.pipeline.adapting.transfer_source import SourceSubnet, open_subnet
from ofa_nas.pipeline.delivery.deliver import deliver_trained
from ofa_nas.pipeline.delivery.file_verification import Delivery
from ofa_nas.pipeline.training.training_run import (
    FoundImages,
    RunPlan,
    decode_splits,
    save_trained,
    warn_of_size,
)
from ofa_nas.pruning.channels import narrow_space
from ofa_nas.pruning.course import SupernetCourse
from ofa_nas.pruning.masks import Scope, remaining, weight_count
from ofa_nas.pruning.state import Round, load_ticket, save_ticket
from ofa_nas.pruning.tickets import LotteryPlan, Ticket, draw_tickets
from ofa_nas.space.costs import layer_parameters, network_macs
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.supernet import Supernet, place
from ofa_nas.supernet_card import SupernetCard, SupernetFiles
from ofa_nas.training.evaluate import accuracy_of, batches
from ofa_nas.training.loop import StepReport
from ofa_nas.training.output_folder import CHECKPOINT, check_run_folder, locked_folder
from ofa_nas.training.phase import Phase
from ofa_nas.training.recipe import Recipe
from ofa_nas.training.recipe_document import recipe_document
from ofa_nas.training.splits import SplitSizes, TrainingData, training_data
from ofa_nas.training.state import RateChange, data_meta
from ofa_nas.training.train import EpochReport, train

PruneMethod = Literal["imp", "channel"]
_RATE, _EPOCHS = 0.02, 5.0  # for batches of 64; benchmarks/bench_pruning.py
_CLASSIFIER = "layers.classifier.linear.weight"  # loses half the share by scope `layer`
_STATES: dict[PruneMethod, str] = {"channel": CHECKPOINT, "imp": "ticket.safetensors"}
_LAST_STEPS = 50  # whose mean loss stands for a round


@dataclass(frozen=True, slots=True)
class PrunePlan(RunPlan):
    """What to prune, how, and where to leave it: `subnet.safetensors` and `subnet.onnx`.

    The recipe has one phase: a round, or the training after the cut.

    Attributes:
        subnet: As `open_subnet` takes it.
        supernet: Of a subnet that is given by its architecture.
        data: Data set of the subnet's classes, as `open_data` takes it.
        method: `imp` or `channel`.
        sizes: Of the images that serve beside training.
        keep: Share of the middle channels, by `channel`.
        rounds: How often weights are pruned, by `imp`.
        share: Of the weights that are left, pruned in each round.
        scope: Of the ranking: `global` or `layer`.
        rewind: Step that weights go back to.
        from_scratch: Draw the weights anew: before the first round, or after the cut.
    """

    subnet: str
    supernet: str
    data: str
    method: PruneMethod
    sizes: SplitSizes
    keep: float = 0.5
    rounds: int = 5
    share: float = 0.2
    scope: Scope = "global"
    rewind: int = 0
    from_scratch: bool = False


@dataclass(frozen=True, slots=True)
class NetworkSize:
    """What a network takes.

    Attributes:
        macs: Multiply-accumulates for one image.
        parameters: Trained ones.
    """

    macs: int
    parameters: int

    @classmethod
    def of(cls, space: SearchSpace) -> "NetworkSize":
        """Of a space's largest architecture."""
        arch = space.largest
        return cls(network_macs(space, arch), sum(map(layer_parameters, space.layers(arch))))


@dataclass(frozen=True, slots=True)
class PrunedSubnet:
    """The end of a pruning.

    Attributes:
        files: A supernet of one architecture: what every command with `--supernet` takes.
        before: The subnet.
        after: What is left of it; weights that are 0 are still there.
        rounds: By `imp`, those before a resume too.
        epochs: By `channel`, likewise.
        delivery: The ONNX file and its checks.
        zeros: Weights of convolutions and classifier that are 0 in the file.
        gzip_bytes: Of the file, compressed.
    """

    files: SupernetFiles
    before: NetworkSize
    after: NetworkSize
    rounds: tuple[Round, ...]
    epochs: tuple[EpochReport, ...]
    delivery: Delivery
    zeros: int
    gzip_bytes: int


PruneRecord = (
    FoundImages | PackProgress | StepReport | RateChange | Round | EpochReport | Activity | PrunedSubnet
)


def prune_recipe() -> Recipe:
    """How a pruned network is trained: as a supernet's largest subnet, at a rate for trained weights."""
    phase = Phase("prune", "none", epochs=_EPOCHS, learning_rate=_RATE, warmup=0.05)
    return Recipe("prune", (phase,), batch_size=64)


def prune_subnet(plan: PrunePlan, *, device: torch.device) -> Generator[PruneRecord, None, None]:
    """Decode, prune, train, save, export and check; the last record is the result.

    Closing the generator leaves what `resume` goes on from: by `channel` the step, by `imp` the last round.

    Raises:
        ConfigError: The run folder holds another pruning, one is at work there, or the plan is wrong.
        FileError: It cannot be written.
        DataError: The data are wrong.
        CheckpointError: The subnet is missing or damaged, or there is nothing to resume from.
        TrainingError: The loss is not a number.
        VerificationError: The file does not compute what the network does.
    """
    with locked_folder(plan.folder):
        yield from _prune(plan, device=device)


def _prune(plan: PrunePlan, *, device: torch.device) -> Generator[PruneRecord, None, None]:
    _check_folder(plan)
    history = plan.history(EpochReport)
    source = open_subnet(plan.subnet, plan.supernet)
    data = open_like(plan.data, source, fit=plan.fit)
    check_input(data.train, source.space)
    check_known_classes(source, data)
    if plan.method == "channel":
        narrow_space(source.space, source.arch, keep=plan.keep)
    else:
        _lottery(plan, len(data.train.labels))
    warn_of_size(data.train, plan.image_size, source.arch.resolution)
    packs = yield from decode_splits(data, plan.image_size)
    prepared = training_data(*packs, plan.sizes, normalization=source.normalization)
    supernet, before = _first(source, prepared, plan, device=device)
    start = _start(plan, source.name)
    rounds: tuple[Round, ...] = ()
    epochs: tuple[EpochReport, ...] = ()
    rates: list[RateChange] = []
    if plan.method == "imp":
        rounds = yield from _draw(supernet, prepared, plan, start=start)
    else:
        checkpointing = plan.checkpointing(plan.folder / _STATES["channel"], start)
        reports = train(supernet, prepared, plan.recipe, checkpointing=checkpointing)
        epochs, rates = yield from history.keep(reports)
    files = SupernetFiles(plan.folder / "subnet.safetensors")
    save_trained(
        files,
        supernet,
        data,
        sizes=plan.sizes,
        normalization=source.normalization,
        made_by={"prune": _told(plan), **plan.made_by(start, rates)},
        licence="" if plan.from_scratch else source.licence,
    )
    yield from _finish(files, before, rounds, epochs)


def _check_folder(plan: PrunePlan) -> None:
    """Refuse a run folder that cannot be written, or that holds something else."""
    for method, state in _STATES.items():
        if plan.resume and method != plan.method and (plan.folder / state).exists():
            raise ConfigError(
                f"{plan.folder} holds a pruning by --method {method}: resume with that, or give another "
                "--output"
            )
    for state in _STATES.values() if not plan.resume else (_STATES[plan.method],):
        check_run_folder(plan.folder, state, resume=plan.resume, work="pruning")


def _lottery(plan: PrunePlan, images: int) -> LotteryPlan:
    steps = plan.recipe.total_steps(images)
    return LotteryPlan(plan.rounds, steps, plan.rewind, plan.share, plan.scope, frozenset({_CLASSIFIER}))


def _first(
    source: SourceSubnet, data: TrainingData, plan: PrunePlan, *, device: torch.device
) -> tuple[Supernet, NetworkSize]:
    """What is trained, and the size of what it came from."""
    inputs = batches(
        data.calibration,
        source.arch.resolution,
        normalization=source.normalization,
        device=torch.device("cpu"),
    )
    supernet = dense_supernet(source, inputs)
    before = NetworkSize.of(supernet.space)
    if plan.method == "channel":
        supernet = cut_supernet(supernet, keep=plan.keep)
    if plan.from_scratch:
        redraw(supernet, seed=plan.recipe.seed)
    return place(supernet, device), before


def _start(plan: PrunePlan, start: str) -> str:
    return f"{start}{', drawn anew' if plan.from_scratch else ''}"


def _draw(
    supernet: Supernet, data: TrainingData, plan: PrunePlan, *, start: str
) -> Generator[StepReport | Round, None, tuple[Round, ...]]:
    course = SupernetCourse(supernet, data, plan.recipe)
    path = plan.folder / _STATES["imp"]
    meta: dict[str, object] = {  # but the rounds: there may be more
        "recipe": recipe_document(plan.recipe),
        **plan.size_meta(),
        "space": supernet.space.digest,
        "lottery": {"share": plan.share, "scope": plan.scope, "rewind": plan.rewind},
        "start": start,
        **data_meta(data.train, data.normalization),
    }
    last, rounds = load_ticket(path, supernet, meta=meta) if plan.resume else (None, [])
    if last is not None and last.round > plan.rounds:
        raise ConfigError(
            f"--rounds {plan.rounds}: {plan.folder} has {last.round} already; give as many or more"
        )
    yield from rounds
    losses: list[float] = []
    for record in draw_tickets(supernet, course, _lottery(plan, len(data.train)), last=last):
        if isinstance(record, Ticket):
            rounds.append(_round(supernet, data, record, float(np.mean(losses[-_LAST_STEPS:]))))
            losses.clear()  # of this round; one that is resumed tells the same
            save_ticket(path, record, rounds, meta=meta)
            yield rounds[-1]
        else:
            losses.append(record.loss)
            yield record
    return tuple(rounds)


def _round(supernet: Supernet, data: TrainingData, ticket: Ticket, loss: float) -> Round:
    accuracy = accuracy_of(
        supernet,
        supernet.space.largest,
        calibration=data.calibration,
        split=data.held_out,
        normalization=data.normalization,
    )
    return Round(ticket.round, remaining(ticket.masks), weight_count(ticket.masks), loss, accuracy)


def _told(plan: PrunePlan) -> dict[str, object]:
    if plan.method == "channel":
        return {"method": plan.method, "keep": plan.keep}
    names = ("method", "rounds", "share", "scope", "rewind")
    return {name: getattr(plan, name) for name in names}


def _finish(
    files: SupernetFiles, before: NetworkSize, rounds: tuple[Round, ...], epochs: tuple[EpochReport, ...]
) -> Generator[Activity | PrunedSubnet, None, None]:
    space = SupernetCard.load(files.card).space
    delivery = yield from deliver_trained(files, space.largest)
    yield PrunedSubnet(
        files=files,
        before=before,
        after=NetworkSize.of(space),
        rounds=rounds,
        epochs=epochs,
        delivery=delivery,
        zeros=zeros_of(delivery.path),
        gzip_bytes=len(gzip.compress(read_bytes(delivery.path, error=FileError), mtime=0)),
    )


def zeros_of(path: Path) -> int:
    """Weights of convolutions and classifier that are exactly 0 in an fp32 file; biases are not counted."""
    return sum(
        int((numpy_helper.to_array(tensor) == 0.0).sum())
        for tensor in read_model(path).graph.initializer
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) > 1
    )
