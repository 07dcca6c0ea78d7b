"""From a subnet and a data set to a subnet for that data set, on the disk, exported and checked."""

from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from ofa_nas.data import DataSet
from ofa_nas.data.dataset import open_data
from ofa_nas.data.packed import PackedImages, PackProgress
from ofa_nas.pipeline.deliver import Activity, Delivery, deliver
from ofa_nas.pipeline.learning import pack_split, save_trained
from ofa_nas.pipeline.promise import promise_of
from ofa_nas.pipeline.transfer_source import SourceSubnet, open_subnet
from ofa_nas.provenance import record_provenance
from ofa_nas.space.architecture import Architecture
from ofa_nas.supernet.supernet import Supernet
from ofa_nas.supernet_card import SupernetFiles
from ofa_nas.training.loop import CHECKPOINT, Checkpointing, check_run_folder
from ofa_nas.training.prepare import SplitSizes, predictor_half, training_data
from ofa_nas.training.recipe import Recipe
from ofa_nas.transfer.adapt import TransferEpoch, TransferReport, adapt
from ofa_nas.transfer.methods import METHODS, Method
from ofa_nas.transfer.network import TransferNetwork, transfer_space


@dataclass(frozen=True, slots=True)
class TransferPlan:
    """What to transfer, to what, and where to leave it.

    Attributes:
        subnet: As `open_subnet` takes it.
        supernet: Of a subnet that is given by its architecture.
        data: Data set, as `open_data` takes it.
        recipe: Of one phase, named after the method.
        sizes: Of the images that serve beside training.
        folder: Run folder; the result becomes `subnet.safetensors` and `subnet.onnx` there.
        image_size: Side of the packed images [px]; None for the native one.
        resume: Continue from the checkpoint in the run folder.
        checkpoint_minutes: Minutes between checkpoints.
    """

    subnet: str
    supernet: str
    data: str
    recipe: Recipe
    sizes: SplitSizes
    folder: Path
    image_size: int | None = None
    resume: bool = False
    checkpoint_minutes: float = 5.0

    @property
    def method(self) -> Method:
        """What is trained."""
        return METHODS[self.recipe.phases[0].name]


@dataclass(frozen=True, slots=True)
class TransferredSubnet:
    """The end of a transfer.

    Attributes:
        files: A supernet of one architecture: what every command with `--supernet` takes.
        arch: That architecture, in the space of the files.
        trained_parameters: How many numbers were trained.
        epochs: Reports since the start or the resume.
        delivery: The ONNX file and its checks.
    """

    files: SupernetFiles
    arch: Architecture
    trained_parameters: int
    epochs: tuple[TransferEpoch, ...]
    delivery: Delivery


def transfer_subnet(
    plan: TransferPlan, *, device: torch.device
) -> Generator[PackProgress | TransferReport | Activity | TransferredSubnet, None, None]:
    """Decode, train, save, export and check; the last record is the result.

    Closing the generator between two reports of the training leaves a checkpoint to resume from.

    Raises:
        ConfigError: The run folder holds another transfer, or the plan is wrong.
        FileError: It cannot be written.
        DataError: The data are wrong.
        CheckpointError: The subnet is missing or damaged, or there is nothing to resume from.
        TrainingError: The loss is not a number.
        VerificationError: The file does not compute what the network does.
    """
    checkpoint = check_run_folder(plan.folder, CHECKPOINT, resume=plan.resume, work="transfer")
    source = open_subnet(plan.subnet, plan.supernet)
    data = open_data(plan.data)
    packs: list[PackedImages] = []
    for split in (data.train, data.val.subset(predictor_half(data.val))):
        for progress in pack_split(split, plan.image_size):
            yield progress
            if progress.packed is not None:
                packs.append(progress.packed)
    network = _network(source, data, plan, device=device)
    prepared = training_data(packs[0], packs[1], plan.sizes, normalization=source.normalization)
    checkpointing = Checkpointing(checkpoint, plan.resume, plan.checkpoint_minutes, source.name)
    epochs = []
    reports = adapt(network, prepared, plan.recipe, checkpointing=checkpointing)
    try:
        for report in reports:
            if isinstance(report, TransferEpoch):
                epochs.append(report)
            yield report
    finally:
        reports.close()
    files = SupernetFiles(plan.folder / "subnet.safetensors")
    count = sum(value.numel() for value in network.trained().values())
    _save(files, network, source=source, data=data, plan=plan)
    yield from _finish(files, network.arch, count, tuple(epochs))


def _network(
    source: SourceSubnet, data: DataSet, plan: TransferPlan, *, device: torch.device
) -> TransferNetwork:
    space = transfer_space(source.space, source.arch, classes=len(data.class_names), method=plan.method)
    network = TransferNetwork(space, plan.method)
    network.load_folded(source.weights, list(source.space.layers(source.arch)), where=source.name)
    network.initialise(torch.Generator().manual_seed(plan.recipe.seed))
    network.to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stub lacks it
    return network


def _save(
    files: SupernetFiles, network: TransferNetwork, *, source: SourceSubnet, data: DataSet, plan: TransferPlan
) -> None:
    network.merge_scales()
    supernet = Supernet(network.space)
    supernet.load_state_dict(network.state_dict())
    save_trained(
        files,
        supernet,
        data,
        sizes=plan.sizes,
        normalization=source.normalization,
        made_by={
            "transfer": plan.method.name,
            "start": source.name,
            "recipe": asdict(plan.recipe),
            "provenance": record_provenance(seed=plan.recipe.seed).to_json(),
        },
    )


def _finish(
    files: SupernetFiles, arch: Architecture, count: int, epochs: tuple[TransferEpoch, ...]
) -> Iterator[Activity | TransferredSubnet]:
    promise = promise_of(files, arch, table=None, threads=1)
    for record in deliver(files, arch, promise, output=files.weights.with_suffix(".onnx")):
        if isinstance(record, Activity):
            yield record
        else:
            yield TransferredSubnet(files, arch, count, epochs, record)
