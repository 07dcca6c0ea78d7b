"""How far are subnets of a supernet from the same networks trained alone from the same start?

A twin starts with the weights that the supernet started with, cut to its architecture. It is trained by the
same recipes, one after the other as the supernet was, and sees as many images in each phase, but by labels
alone and at its own resolution. The subnet and its twin are judged on the held-out images beside the
supernet, with batch norm calibrated on the images beside it. A training that was stopped goes on.

    OFA_NAS_DATA=… python -m benchmarks.bench_twins smallest 96/3x1/…
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.recipe_trainings import alone_space
from ofa_nas.cli.torch_process import prepare_torch
from ofa_nas.data import DataSet, Normalization
from ofa_nas.data.dataset import open_data
from ofa_nas.data.packed import PackedImages, default_pack_folder, pack
from ofa_nas.data.sample import load_images
from ofa_nas.provenance import record_provenance
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.costs import network_macs
from ofa_nas.space.layer import block_name
from ofa_nas.space.points import named_architecture
from ofa_nas.supernet.bootstrap import open_start, start_supernet
from ofa_nas.supernet.checkpoint import load_supernet
from ofa_nas.supernet.supernet import Supernet, place
from ofa_nas.supernet_card import SupernetFiles
from ofa_nas.training.batches import Batches
from ofa_nas.training.evaluate import accuracy_of
from ofa_nas.training.loop import Checkpointing, Loop, StepReport
from ofa_nas.training.phase import Phase
from ofa_nas.training.recipe import Recipe, Settings
from ofa_nas.training.state import EpochEnd, data_meta
from ofa_nas.training.step import Learner

TOLD_STEPS = 200


def first_twin(start: str, arch: Architecture, data: DataSet, *, seed: int) -> Supernet:
    """The network of one architecture with the weights of a start, as the only one of a space of its own."""
    whole = start_supernet(
        open_start(start),
        class_ids=data.train.class_ids,
        class_names=data.class_names,
        generator=torch.Generator().manual_seed(seed),
    )
    twin = Supernet(alone_space(whole.space, arch))
    blocks = [block_name(stage, block) for stage, row in enumerate(arch.stages) for block in range(len(row))]
    names = {name: block_name(number, 0) for number, name in enumerate(blocks)}
    state = {}
    for key, value in whole.extract(arch).state_dict().items():
        head, layer, rest = key.split(".", 2)
        state[f"{head}.{names.get(layer, layer)}.{rest}"] = value
    twin.load_state_dict(state)
    return place(twin, torch.device("cpu"))


def alone(recipe: Recipe) -> Recipe:
    """The same phases for one network: no teacher, no choice of resolution."""
    phases = tuple(
        Phase(one.name, "none", one.epochs, one.learning_rate, warmup=one.warmup, rate_floor=one.rate_floor)
        for one in recipe.phases
    )
    return replace(recipe, name=f"{recipe.name}, alone", phases=phases)


def read_training(text: str, *, seed: int) -> Recipe:
    """A recipe with the epochs and the peak rate that stand behind its name."""
    name, epochs, rate, *_ = [*text.split(":"), "", ""]
    settings = Settings(
        epochs=float(epochs) if epochs else None, learning_rate=float(rate) if rate else None, seed=seed
    )
    return Recipe.load(name).override(settings)


class _TwinLoop(Loop[EpochEnd]):
    """A training of which nothing is asked but its end."""

    def epoch_report(self, end: EpochEnd) -> EpochEnd:
        return end


def train_twin(
    twin: Supernet, recipe: Recipe, images: PackedImages, normalization: Normalization, *, path: Path
) -> None:
    """Train to the end of the recipe, telling the loss now and then, from where a checkpoint stands."""
    device = torch.device("cpu")
    batches = Batches(images, recipe, normalization=normalization, device=device)
    checkpointing = Checkpointing(path, resume=path.is_file(), minutes=2.0)
    path.parent.mkdir(parents=True, exist_ok=True)
    loop = _TwinLoop(Learner(twin, batches), checkpointing, data_meta(images, normalization))
    for report in loop.kept_reports():
        if isinstance(report, StepReport) and report.step % TOLD_STEPS == 0:
            print(f"  step {report.step} of {report.total_steps}, loss {report.loss:.2f}", flush=True)


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("archs", nargs="*", default=["smallest"], help="smallest, middle, largest, or texts")
    parser.add_argument("--supernet", default="efficientnet_lite")
    parser.add_argument("--start", default="efficientnet_lite0")
    parser.add_argument("--data", default="tiny_imagenet")
    parser.add_argument(
        "--trainings",
        nargs="+",
        metavar="RECIPE[:EPOCHS[:RATE]]",
        default=["shrink:1.5", "shrink:2:0.03", "refine"],
        help="that the supernet went through, one after the other (shrink:1.5 shrink:2:0.03 refine)",
    )
    parser.add_argument("--threads", type=int)
    parser.add_argument("--folder", type=Path, default=Path("runs/bench_twins"))
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    """Train every twin, compare, print."""
    options = parse_options()
    prepare_torch(threads=options.threads)
    files = SupernetFiles.find(options.supernet)
    supernet, card = load_supernet(files)
    data = open_data(options.data)
    packed = pack(
        data.train,
        default_pack_folder(data.train, size_px=data.train.size_px),
        size_px=data.train.size_px,
    )
    (r, g, b), (r_std, g_std, b_std) = card.input_mean, card.input_std
    normalization = Normalization((r, g, b), (r_std, g_std, b_std))
    calibration, held_out = load_images(files.calibration).images, load_images(files.held_out)
    recipes = [alone(read_training(text, seed=options.seed)) for text in options.trainings]
    rows = []
    for text in options.archs:
        arch = named_architecture(card.space, text)
        twin = first_twin(options.start, arch, data, seed=options.seed)
        folder = options.folder / f"{card.sha256[:8]}-{text.replace('/', '_')}-{options.seed}"
        was_resumed = folder.is_dir()
        began = time.process_time()
        for number, recipe in enumerate(recipes):
            train_twin(twin, recipe, packed, normalization, path=folder / f"{number}.safetensors")
        seconds = time.process_time() - began  # of this process: what one before spent is not in it
        shared, own = (
            accuracy_of(net, one, calibration=calibration, split=held_out, normalization=normalization)
            for net, one in ((supernet, arch), (twin, twin.space.largest))
        )
        macs = network_macs(card.space, arch)
        row = {"arch": str(arch), "macs": macs, "shared": shared, "alone": own}
        rows.append({**row, "cpu_seconds": seconds, "was_resumed": was_resumed})
        print(
            f"| `{arch}` | {macs / 1e6:.1f} | {shared:.2%} | {own:.2%} | {100 * (shared - own):+.2f} |",
            flush=True,
        )
    made_by = record_provenance(seed=options.seed).to_json()
    print(
        json.dumps({"benchmark": "twins", "trainings": options.trainings, "rows": rows, "made_by": made_by})
    )


if __name__ == "__main__":
    main()
