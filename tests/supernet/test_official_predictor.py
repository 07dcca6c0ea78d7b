"""once-for-all's accuracy predictor says here what it says there."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ofa_nas.errors import CheckpointError
from ofa_nas.predictors.mlp import from_json
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.official_predictor import read_official_predictor

SPACE = replace(SearchSpace.load("mobilenet_v3_w1.2"), resolutions=(128, 160, 176, 224))
OFA = Encoding.of(SPACE)


def published_network() -> nn.Sequential:
    layers = [nn.Linear(128, 400), nn.ReLU(), nn.Linear(400, 400), nn.ReLU(), nn.Linear(400, 400), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(400, 1))


def published_features(arch: Architecture) -> list[float]:
    """Written from the description of the published encoding, block by block."""
    kernels, expands, sizes = [0.0] * 60, [0.0] * 60, [0.0] * 8
    for stage, blocks in enumerate(arch.stages[1:]):
        for index, block in enumerate(blocks):
            kernels[12 * stage + 3 * index + {3: 0, 5: 1, 7: 2}[block.kernel_size]] = 1.0
            expands[12 * stage + 3 * index + {3: 0, 4: 1, 6: 2}[int(block.expand_ratio)]] = 1.0
    sizes[{128: 1, 160: 3, 176: 4, 224: 7}[arch.resolution]] = 1.0
    return kernels + expands + sizes


def test_it_says_what_the_published_network_says(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = published_network()
    torch.save(network.state_dict(), tmp_path / "acc.pth")
    predictor = read_official_predictor(tmp_path / "acc.pth", OFA)
    genes = OFA.sample(200, np.random.default_rng(0))
    with torch.no_grad():
        rows = torch.tensor([published_features(arch) for arch in OFA.decode(genes)])
        expected = network(rows)[:, 0].numpy()
    assert np.abs(predictor.predict(genes) - expected).max() < 1e-6
    read_back = from_json(OFA, predictor.to_json())
    assert read_back.predict(genes).tolist() == predictor.predict(genes).tolist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no file of torch", "not a file of torch tensors"),
        ([torch.zeros(3)], "expected once-for-all's accuracy predictor"),
        ({"0.weight": torch.zeros(400, 128)}, "expected once-for-all's accuracy predictor"),
    ],
)
def test_another_file_is_refused(content: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "acc.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match=message):
        read_official_predictor(path, OFA)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_official_predictor(tmp_path / "none.pth", OFA)


def test_the_published_file_predicts_imagenet_accuracies() -> None:
    folder = os.environ.get("OFA_NAS_DATA")
    path = Path(folder or "", "ofa", "acc_predictor.pth")
    if not folder or not path.is_file():
        pytest.skip("OFA_NAS_DATA names no folder with ofa/acc_predictor.pth")
    predictor = read_official_predictor(path, OFA)
    smallest, largest = predictor.predict(OFA.encode([SPACE.smallest, SPACE.largest]))
    assert 0.70 < smallest < 0.77
    assert 0.80 < largest < 0.86
