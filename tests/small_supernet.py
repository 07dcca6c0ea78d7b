"""A data set written here, a supernet really trained on it, and a device whose latencies are known."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ofa_nas.data.packed import PackedImages
from ofa_nas.data.sample import load_images
from ofa_nas.devices import MeasuringProtocol
from ofa_nas.latency.attribution import LayerLatency
from ofa_nas.latency.measured import Holdout, Measured
from ofa_nas.latency.table import LatencyTable, TableDevice
from ofa_nas.pipeline.evaluating.evaluation import Bench
from ofa_nas.pipeline.predicting.collecting import Collection
from ofa_nas.pipeline.predicting.predictor_fit import FitReport, fit_predictor
from ofa_nas.pipeline.training.learning import TrainedSupernet, TrainingPlan, train_supernet
from ofa_nas.space.costs import every_layer, layer_macs, network_macs
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet_card import SupernetCard, SupernetFiles
from ofa_nas.training.evaluate import Images
from ofa_nas.training.loop import StepReport
from ofa_nas.training.phase import Phase
from ofa_nas.training.recipe import Recipe
from ofa_nas.training.splits import SplitSizes

CLASSES, SIZE_PX = 10, 32
LICENCE = "made up: for tests"
TRAIN_IMAGES, VAL_IMAGES = 40, 20  # of each class
SUBNETS = 24
SANDWICH = Phase("sandwich", "largest", epochs=2.0, learning_rate=0.1, warmup=0.03, random_subnets=1)
RECIPE = Recipe("small", (replace(SANDWICH, epochs=8.0, learning_rate=0.2),), batch_size=40, crop_scale=0.7)
MS_PER_MAC, CONSTANT_MS = 1e-5, 0.5  # of the device that `exact_table` describes


@dataclass(frozen=True, slots=True)
class SmallSupernet:
    """What a few seconds of learning leave: do not write into its folders, copy them.

    Attributes:
        files: Weights, card, predictor and images, and a checkpoint of the training beside them.
        data: Folder of the images.
        losses: Of the largest subnet, one a step.
        trained: As `train_supernet` told.
        fitted: As `fit_predictor` told.
    """

    files: SupernetFiles
    data: Path
    losses: tuple[float, ...]
    trained: TrainedSupernet
    fitted: FitReport

    @property
    def name(self) -> str:
        """What `--supernet` takes."""
        return str(self.files.weights)

    @property
    def calibration(self) -> Images:
        """Training images `(n, S, S, 3)`."""
        return load_images(self.files.calibration).images

    @property
    def held_out(self) -> PackedImages:
        """Images that only verification sees."""
        return load_images(self.files.held_out)

    def copy_to(self, folder: Path) -> SupernetFiles:
        """The same files in a folder of the test's own."""
        shutil.copytree(self.files.weights.parent, folder)
        return SupernetFiles(folder / self.files.weights.name)


def write_images(root: Path, *, train: int = TRAIN_IMAGES, val: int = VAL_IMAGES) -> Path:
    """Write PNG images, one folder a class: bars of a class's own direction and width under noise."""
    rng = np.random.default_rng(7)
    down, right = np.mgrid[:SIZE_PX, :SIZE_PX] / SIZE_PX
    for split, count in (("train", train), ("val", val)):
        for label in range(CLASSES):
            folder = root / split / f"class_{label}"
            folder.mkdir(parents=True)
            # No class is another's mirror image; the finer bars need the higher resolution.
            angle, waves = np.pi / 8 * (label % 5), 2 + 7 * (label // 5)
            for index in range(count):
                phase = rng.uniform(0.0, 2.0 * np.pi)
                bars = np.sin(2 * np.pi * waves * (np.cos(angle) * right + np.sin(angle) * down) + phase)
                pixels = 127 + 50 * bars[..., None] * rng.uniform(0.4, 1.0, 3)
                pixels = pixels + rng.normal(0.0, 40.0, pixels.shape)
                image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
                image.save(folder / f"{index}.png", compress_level=1)
    return root


def write_tests(folder: Path) -> Path:
    """Write a folder of six test images a class, and of one of class 3."""
    root = write_images(folder / "made", train=1, val=6)
    tests = (root / "val").rename(folder / "test")
    for index in range(1, 6):
        (tests / "class_3" / f"{index}.png").unlink()
    return tests


def plan(data: Path, folder: Path, *, recipe: Recipe = RECIPE) -> TrainingPlan:
    """A training of `tiny` on such images."""
    sizes = SplitSizes(reports=100, calibration=40, calibration_sample=200, seed=recipe.seed)
    return TrainingPlan(space="tiny", data=str(data), start=None, recipe=recipe, sizes=sizes, folder=folder)


def make_small_supernet(root: Path) -> SmallSupernet:
    """Write images, train, collect and fit, all below one folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        data = write_images(root / "shapes")
        *reports, trained = train_supernet(plan(data, root / "run"), device=torch.device("cpu"))
    assert isinstance(trained, TrainedSupernet)
    losses = tuple(report.loss for report in reports if isinstance(report, StepReport))
    name = str(trained.files.weights)
    samples = list(
        Collection.plan(Bench.open(name), count=SUBNETS, data=str(data), images=60, seed=0).samples()
    )
    assert len(samples) == SUBNETS
    fitted = fit_predictor(name, kind="additive", seed=0).report
    replace(SupernetCard.load(trained.files.card), licence=LICENCE).save(trained.files.card)
    return SmallSupernet(trained.files, data, losses, trained, fitted)


def exact_table(space: SearchSpace) -> LatencyTable:
    """A table of `space` on a device that takes the same time for every multiply-accumulate."""
    layers = {layer for size in space.resolutions for layer in every_layer(space, size)}
    rows = tuple(LayerLatency(layer, max(1e-6, MS_PER_MAC * layer_macs(layer)), 0.0) for layer in layers)
    latency_ms = CONSTANT_MS + MS_PER_MAC * network_macs(space, space.middle)
    measured = Measured(
        space=space.name,
        digest=space.digest,
        classes=space.classes,
        resolutions=space.resolutions,
        intercepts_ms=(CONSTANT_MS,) * len(space.resolutions),
        rows=rows,
        holdouts=(Holdout(str(space.middle), latency_ms, latency_ms, latency_ms, 0.01),),
        seed=0,
        noisy=0,
        throttled=0,
        networks=1,
        protocol=MeasuringProtocol(),
        environment={},
        references={},
    )
    return LatencyTable(
        name="exact",
        device=TableDevice("exact", "one core", 1, "onnxruntime", 1),
        held=measured,
        error=measured.errors(),
        notes=(),
        sources=(),
        made_by={},
    )
