"""From a subnet and a data set to a subnet for that data set, on the disk, exported and checked."""

from collections.abc import Generator
from dataclasses import dataclass

import torch

from ofa_nas.activity import Activity
from ofa_nas.data import DataSet, check_input
from ofa_nas.data.dataset import open_like
from ofa_nas.data.packed import PackProgress
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
from ofa_nas.space.architecture import Architecture
from ofa_nas.supernet.bootstrap import classifier_rows
from ofa_nas.supernet.supernet import Supernet, place
from ofa_nas.supernet_card import SupernetFiles
from ofa_nas.training.output_folder import CHECKPOINT, check_run_folder, locked_folder
from ofa_nas.training.splits import SplitSizes, training_data
from ofa_nas.transfer.adapt import TransferEpoch, TransferReport, adapt
from ofa_nas.transfer.methods import METHODS, Method
from ofa_nas.transfer.network import TransferNetwork, transfer_space


@dataclass(frozen=True, slots=True)
class TransferPlan(RunPlan):
    """What to transfer, to what, and where to leave it: `subnet.safetensors` and `subnet.onnx`.

    Attributes:
        subnet: As `open_subnet` takes it.
        supernet: Of a subnet that is given by its architecture.
        data: Data set, as `open_data` takes it.
        sizes: Of the images that serve beside training.
    """

    subnet: str
    supernet: str
    data: str
    sizes: SplitSizes

    @property
    def method(self) -> Method:
        """What is trained; the recipe's only phase is named after it."""
        return METHODS[self.recipe.phases[0].name]


@dataclass(frozen=True, slots=True)
class TransferredSubnet:
    """The end of a transfer.

    Attributes:
        files: A supernet of one architecture: what every command with `--supernet` takes.
        arch: That architecture, in the space of the files.
        classes: Outputs of the classifier.
        keeps_classifier: It began as the subnet's, which knew every class; else at 0.
        trained_parameters: How many numbers were trained.
        epochs: One report each, those before a resume too.
        delivery: The ONNX file and its checks.
    """

    files: SupernetFiles
    arch: Architecture
    classes: int
    keeps_classifier: bool
    trained_parameters: int
    epochs: tuple[TransferEpoch, ...]
    delivery: Delivery


def transfer_subnet(
    plan: TransferPlan, *, device: torch.device
) -> Generator[FoundImages | PackProgress | TransferReport | Activity | TransferredSubnet, None, None]:
    """Decode, train, save, export and check; the last record is the result.

    Closing the generator between two reports of the training leaves a checkpoint to resume from.

    Raises:
        ConfigError: The run folder holds another transfer, one is at work there, or the plan is wrong.
        FileError: It cannot be written.
        DataError: The data are wrong.
        CheckpointError: The subnet is missing or damaged, or there is nothing to resume from.
        TrainingError: The loss is not a number.
        VerificationError: The file does not compute what the network does.
    """
    with locked_folder(plan.folder):
        yield from _transfer(plan, device=device)


def _transfer(
    plan: TransferPlan, *, device: torch.device
) -> Generator[FoundImages | PackProgress | TransferReport | Activity | TransferredSubnet, None, None]:
    checkpoint = check_run_folder(plan.folder, CHECKPOINT, resume=plan.resume, work="transfer")
    history = plan.history(TransferEpoch)
    source = open_subnet(plan.subnet, plan.supernet)
    data = open_like(plan.data, source, fit=plan.fit)
    check_input(data.train, source.space)
    warn_of_size(data.train, plan.image_size, source.arch.resolution)
    packs = yield from decode_splits(data, plan.image_size)
    network = _network(source, data, plan, device=device)
    prepared = training_data(*packs, plan.sizes, normalization=source.normalization)
    checkpointing = plan.checkpointing(checkpoint, source.name)
    reports = adapt(network, prepared, plan.recipe, checkpointing=checkpointing)
    epochs, rates = yield from history.keep(reports)
    files = SupernetFiles(plan.folder / "subnet.safetensors")
    count = sum(value.numel() for value in network.trained().values())
    network.merge_scales()
    supernet = Supernet(network.space)
    supernet.load_state_dict(network.state_dict())
    save_trained(
        files,
        supernet,
        data,
        sizes=plan.sizes,
        normalization=source.normalization,
        made_by={"transfer": plan.method.name, **plan.made_by(source.name, rates)},
        licence=source.licence,
    )
    delivery = yield from deliver_trained(files, network.arch)
    yield TransferredSubnet(
        files=files,
        arch=network.arch,
        classes=len(data.class_names),
        keeps_classifier=network.keeps_classifier,
        trained_parameters=count,
        epochs=epochs,
        delivery=delivery,
    )


def _network(
    source: SourceSubnet, data: DataSet, plan: TransferPlan, *, device: torch.device
) -> TransferNetwork:
    space = transfer_space(source.space, source.arch, classes=len(data.class_names), method=plan.method)
    network = TransferNetwork(space, plan.method)
    rows = classifier_rows(source.class_names, class_ids=data.train.class_ids, class_names=data.class_names)
    layers = list(source.space.layers(source.arch))
    network.load_folded(source.weights, layers, where=source.name, rows=rows)
    network.initialise(torch.Generator().manual_seed(plan.recipe.seed))
    return place(network, device)
