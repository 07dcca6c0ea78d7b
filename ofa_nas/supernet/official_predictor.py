"""The accuracy predictor that once-for-all publishes (`acc_predictor.pth`), read into one of ours."""

from pathlib import Path
from typing import Any

import numpy as np

from ofa_nas.arrays import Index
from ofa_nas.errors import CheckpointError
from ofa_nas.predictors.mlp import Dense, MlpPredictor
from ofa_nas.space.encoding import Encoding
from ofa_nas.supernet.official import PUBLISHED
from ofa_nas.supernet.tensor_file import read_tensor_file

INPUTS = 128
_WHAT = "not a file of torch tensors"
SHAPES = {"0": (400, INPUTS), "2": (400, 400), "4": (400, 400), "6": (1, 400)}
BLOCKS = 20
KERNEL_SIZES, EXPAND_RATIOS = (3, 5, 7), (3, 4, 6)
FIRST_PX, STEP_PX = 112, 16
NETWORK = "ofa_mbv3_d234_e346_k357_w1.2"  # whose subnets it predicts

# The published file. The licence is that of mit-han-lab/once-for-all, whose code fetches it from there.
SHA256 = "48685122a3540636b06699af66cd816456b25f29b69563e2fda9bed4018eeba0"
ORIGIN = {
    "address": f"{PUBLISHED}/acc_predictor.pth",
    "git_object": "f6a9ab2f66b7e2f6e097a1e32faafe60a4d22fcf",
    "licence": "MIT (mit-han-lab/once-for-all); gatech-sysml/CompOFA has the same bytes under Apache-2.0",
}
# Against names and net.config of han-cai/files at a7c9bcd, ofa/ofa_specialized: the eight of width 1.2 whose
# image sizes it knows, each after 75 epochs of training of its own. tests/supernet/published_subnets.json
DESCRIPTION = (
    "ImageNet top-1, predicted by the published OFA predictor: 3.4 points above the accuracies published for "
    "eight subnets (3.2 to 3.6), no interval"
)


def is_official_predictor(path: Path) -> bool:
    """Whether a file can be read and has the names of its tensors."""
    try:
        return {str(key) for key, _ in _items(read_tensor_file(path, what=_WHAT))} == set(_shapes())
    except CheckpointError:
        return False


def read_official_predictor(path: Path, encoding: Encoding) -> MlpPredictor:
    """Read the published file for the space that it predicts.

    Args:
        path: `acc_predictor.pth`; nothing in it is executed.
        encoding: Of once-for-all's MobileNetV3 space with resolutions of 112 to 239 px.

    Raises:
        CheckpointError: The file cannot be read or holds something else.
    """
    tensors, shapes = read_tensor_file(path, what=_WHAT), _shapes()
    found = {str(key): tuple(getattr(value, "shape", ())) for key, value in _items(tensors)}
    if found != shapes:
        raise CheckpointError(
            f"{path}: expected once-for-all's accuracy predictor with tensors {shapes}; "
            f"found {str(found)[:200]}"
        )
    network = tuple(
        Dense(tensors[f"{layer}.weight"].float().numpy(), tensors[f"{layer}.bias"].float().numpy())
        for layer in SHAPES
    )
    return MlpPredictor(official_inputs(encoding), INPUTS, (network,), half_width=0.0)


def _shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {f"{layer}.weight": shape for layer, shape in SHAPES.items()}
    return shapes | {f"{layer}.bias": shape[:1] for layer, shape in SHAPES.items()}


def _items(content: Any) -> list[tuple[Any, Any]]:
    return list(content.items()) if isinstance(content, dict) else []


def official_inputs(encoding: Encoding) -> Index:
    """Which of the 128 inputs each value of each gene sets: kernel sizes, expand ratios, resolution.

    Source: `spec2feats` of `ofa/tutorial/accuracy_predictor.py`, mit-han-lab/once-for-all f03b267.
    """
    resolutions = encoding.space.resolutions
    inputs = np.full((encoding.length, encoding.width, 2), INPUTS, dtype=np.int64)
    inputs[0, : len(resolutions), 0] = [2 * 3 * BLOCKS + (size - FIRST_PX) // STEP_PX for size in resolutions]
    for row, position in enumerate(encoding.positions, start=1):
        stage = encoding.space.stages[position.stage]
        if position.stage == 0:  # the first block is the same in all architectures
            continue
        block = 4 * (position.stage - 1) + position.index
        for value, choice in enumerate(stage.choices, start=1):
            kernel = 3 * block + KERNEL_SIZES.index(choice.kernel_size)
            expand = 3 * (BLOCKS + block) + EXPAND_RATIOS.index(int(choice.expand_ratio))
            inputs[row, value] = kernel, expand
    return inputs
