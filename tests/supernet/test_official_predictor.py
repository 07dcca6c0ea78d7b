"""once-for-all's accuracy predictor says here what it says there."""

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ofa_nas.errors import CheckpointError
from ofa_nas.predictor_file import load_predictor
from ofa_nas.predictors.mlp import MlpPredictor, from_json
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.official_predictor import (
    DESCRIPTION,
    SHA256,
    is_official_predictor,
    official_inputs,
    read_official_predictor,
)
from ofa_nas.supernet_card import SupernetFiles

SPACE = replace(SearchSpace.load("mobilenet_v3_w1.2"), resolutions=(128, 160, 176, 224))
OFA = Encoding.of(SPACE)
PUBLISHED_SUBNETS = Path(__file__).parent / "published_subnets.json"


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


def test_what_ships_says_what_the_published_file_says() -> None:
    folder = os.environ.get("OFA_NAS_DATA")
    path = Path(folder or "", "ofa", "acc_predictor.pth")
    if not folder or not path.is_file():
        pytest.skip("OFA_NAS_DATA names no folder with ofa/acc_predictor.pth")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA256
    encoding = Encoding.of(SearchSpace.load("mobilenet_v3_w1.2"))
    shipped = load_predictor(SupernetFiles.find("ofa-imagenet").predictor, encoding, weights="").predictor
    network = published_network()
    network.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    genes = encoding.sample(2000, np.random.default_rng(1))
    genes[:, 0] = encoding.encode([replace(SPACE.smallest, resolution=176)])[0, 0]
    with torch.no_grad():
        rows = torch.tensor([published_features(arch) for arch in encoding.decode(genes)])
        expected = network(rows)[:, 0].numpy()
    assert np.abs(shipped.predict(genes) - expected).max() < 1e-6
    assert np.array_equal(shipped.predict(genes), read_official_predictor(path, encoding).predict(genes))


def test_sizes_between_two_that_it_knows_count_as_the_smaller() -> None:
    space = replace(SPACE, resolutions=(128, 140, 144, 220, 224))
    inputs = official_inputs(Encoding.of(space))
    assert inputs[0, :5, 0].tolist() == [121, 121, 122, 126, 127]


def test_the_bias_that_it_is_shipped_with_is_that_on_published_subnets() -> None:
    whole = Encoding.of(SearchSpace.load("mobilenet_v3_w1.2"))
    shipped = load_predictor(SupernetFiles.find("ofa-imagenet").predictor, whole, weights="")
    wider = Encoding.of(replace(SPACE, resolutions=tuple(range(128, 240, 4))))
    assert isinstance(shipped.predictor.fitted, MlpPredictor)
    predictor = replace(shipped.predictor.fitted, inputs=official_inputs(wider))
    subnets = json.loads(PUBLISHED_SUBNETS.read_text())["subnets"]
    genes = wider.encode([wider.space.parse(subnet["architecture"]) for subnet in subnets])
    points = 100 * (predictor.predict(genes) - np.array([subnet["top1"] for subnet in subnets]))
    told = f"{points.mean():.1f} points above the accuracies published for eight subnets "
    told += f"({points.min():.1f} to {points.max():.1f})"
    assert len(points) == 8
    assert told in shipped.description
    assert shipped.description == DESCRIPTION


def test_only_a_file_with_its_tensors_is_taken_for_it(tmp_path: Path) -> None:
    path = tmp_path / "acc.pth"
    for content, is_one in ((published_network().state_dict(), True), ({"0.weight": torch.zeros(1)}, False)):
        torch.save(content, path)
        assert is_official_predictor(path) is is_one
    path.write_bytes(b"no file of torch")
    assert not is_official_predictor(path)
    assert not is_official_predictor(tmp_path / "none.pth")
