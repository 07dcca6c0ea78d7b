"""The accuracy predictor that once-for-all publishes (`acc_predictor.pth`), read into one of ours."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ofa_nas.errors import CheckpointError
from ofa_nas.predictors.mlp import Dense, Index, MlpPredictor
from ofa_nas.space.encoding import Encoding

INPUTS = 128
SHAPES = {"0": (400, INPUTS), "2": (400, 400), "4": (400, 400), "6": (1, 400)}
BLOCKS, RESOLUTIONS = 20, 8
KERNEL_SIZES, EXPAND_RATIOS = (3, 5, 7), (3, 4, 6)
FIRST_PX, STEP_PX = 112, 16


def read_official_predictor(path: Path, encoding: Encoding) -> MlpPredictor:
    """Read the published file for the space that it predicts.

    Args:
        path: `acc_predictor.pth`; nothing in it is executed.
        encoding: Of once-for-all's MobileNetV3 space with resolutions of 112 to 239 px.

    Raises:
        CheckpointError: The file cannot be read or holds something else.
    """
    try:
        tensors = torch.load(path, weights_only=True, map_location="cpu")
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # torch raises half a dozen kinds for damaged files
        raise CheckpointError(f"{path}: not a file of torch tensors: {error}") from error
    shapes: dict[str, tuple[int, ...]] = {f"{layer}.weight": shape for layer, shape in SHAPES.items()}
    shapes |= {f"{layer}.bias": shape[:1] for layer, shape in SHAPES.items()}
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


def _items(content: Any) -> list[tuple[Any, Any]]:
    return list(content.items()) if isinstance(content, dict) else []


def official_inputs(encoding: Encoding) -> Index:
    """Which of the 128 inputs each value of each gene sets: kernel sizes, expand ratios, resolution.

    Source: `spec2feats` of `ofa/tutorial/accuracy_predictor.py`, mit-han-lab/once-for-all f03b267.
    """
    resolutions = encoding.space.resolutions
    width = max(len(resolutions), 1 + int(encoding.choice_counts.max()))
    inputs = np.full((encoding.length, width, 2), INPUTS, dtype=np.int64)
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
