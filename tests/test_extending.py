"""The examples of docs/extending.md and docs/search_spaces.md do what the pages say."""

import importlib
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ofa_nas.arrays import Floats
from ofa_nas.assets import asset_names
from ofa_nas.data.dataset import open_data
from ofa_nas.devices import MeasuringProtocol, open_device
from ofa_nas.errors import DeviceError
from ofa_nas.latency.profile import profile_device
from ofa_nas.latency.table import LatencyTable
from ofa_nas.onnx_writer import write_model
from ofa_nas.plugins import load_plugin, plugin_names
from ofa_nas.predictor_file import load_predictor, save_predictor
from ofa_nas.predictors import load_module
from ofa_nas.provenance import record_provenance
from ofa_nas.search.choices import ChoiceSpace
from ofa_nas.search.methods import load_method
from ofa_nas.space.costs import layer_macs, network_macs, tabulate
from ofa_nas.space.encoding import Encoding, Genes
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.bootstrap import open_start, start_supernet
from ofa_nas.supernet.supernet import Supernet
from tests.predictors.worlds import LITE, linear_accuracy, observe
from tests.torch_reference import relative_error, run_onnx

DOCS = Path(__file__).parents[1] / "docs"


def blocks_of(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Every example of the page at the path that its first line names; `my_lab` can be imported."""
    folder = tmp_path_factory.mktemp("lab")
    for block in blocks_of("extending.md", "python"):
        path = folder / block.partition("\n")[0].removeprefix("# ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("OFA_NAS_PLUGINS", "my_lab")
        importlib.invalidate_caches()
        yield folder


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (block,) = blocks_of("search_spaces.md", "toml")
    path = tmp_path_factory.mktemp("spaces") / "camera.toml"
    path.write_text(block, encoding="utf-8")
    return path


def test_the_space_of_the_page_runs_and_has_its_point(camera: Path) -> None:
    space = SearchSpace.load(str(camera))
    assert space.name == "camera"
    assert space.cardinality == 3 * (9 + 9**2 + 9**3) * (4**2 + 4**3 + 4**4)
    assert space.points["by_hand"].architecture.resolution == 80
    assert_subnets_are_right(space)


def test_the_spaces_of_the_page_are_those_that_ship() -> None:
    text = (DOCS / "search_spaces.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\S+)` \| [^|]+ \| (\S+) \|", text, re.MULTILINE)
    shipped = {name: SearchSpace.load(name) for name in asset_names("search_spaces", suffix=".toml")}
    assert {name: float(count) for name, count in rows} == {
        name: float(f"{space.cardinality:.2g}") if space.cardinality > 9999 else space.cardinality
        for name, space in shipped.items()
    }


@pytest.mark.usefixtures("lab")
def test_the_block_kind_of_the_page_trains_slices_and_exports(camera: Path, tmp_path: Path) -> None:
    path = tmp_path / "fused.toml"
    path.write_text(camera.read_text().replace("squeeze_excite = true", 'block = "my_lab.fused"'))
    space = SearchSpace.load(str(path))
    assert {layer.kind for layer in space.layers(space.largest)} >= {"mbconv", "my_lab.fused"}
    plain = network_macs(SearchSpace.load(str(camera)), space.largest)
    assert network_macs(space, space.largest) > 2 * plain
    assert_subnets_are_right(space)


@pytest.mark.usefixtures("lab")
def test_the_predictor_of_the_page_is_fitted_saved_and_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    genes = LITE.sample(40, rng)
    observations = observe(genes, linear_accuracy(genes), rng, images=1000)
    predictor = load_module("my_lab.nearest").fit(LITE, observations, rng=rng)
    assert predictor.predict(genes).tolist() == observations.accuracies.tolist()
    path = tmp_path / "nearest.json"
    made_by = record_provenance(seed=0)
    save_predictor(
        path,
        predictor,
        kind="my_lab.nearest",
        encoding=LITE,
        weights="w",
        description="d",
        provenance=made_by,
    )
    again = load_predictor(path, LITE, weights="w").predictor
    other = LITE.sample(20, rng)
    assert again.predict(other).tolist() == predictor.predict(other).tolist()
    assert not again.half_widths(other).any()


@pytest.mark.usefixtures("lab")
def test_the_search_method_of_the_page_keeps_budgets_and_improves() -> None:
    space = ChoiceSpace((6,) * 8)
    worth = np.random.default_rng(1).uniform(size=(8, 6))

    def error(genes: Genes) -> Floats:
        return np.asarray(1.0 - np.take_along_axis(worth, genes.T.astype(int), axis=1).mean(axis=0))

    problem = space.problem(predict=error, costs=lambda genes: genes.sum(axis=1) + 1.0, limits=[21.0])
    generations = list(load_method("my_lab.climb").search(problem, rng=np.random.default_rng(0)))
    first, last = generations[0].best, generations[-1].best
    assert first is not None
    assert last is not None
    assert last.errors[0] < first.errors[0]
    assert last.costs[0, 0] <= 21.0
    assert generations[-1].evaluations == 10_000


@pytest.mark.usefixtures("lab")
def test_the_data_set_of_the_page_is_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 6)):
        np.save(tmp_path / f"{split}_images.npy", rng.integers(0, 255, (count, 8, 8, 3), dtype=np.uint8))
        np.save(tmp_path / f"{split}_labels.npy", np.arange(count) % 3)
    data = open_data(f"my_lab.arrays={tmp_path}")
    assert (data.name, len(data.train), len(data.val)) == ("my_lab.arrays", 12, 6)
    assert data.class_names == ("class 0", "class 1", "class 2")
    is_layout = load_plugin("data.sources", "my_lab.arrays").is_layout
    assert is_layout(tmp_path)
    assert not is_layout(DOCS)


@pytest.mark.usefixtures("lab")
def test_the_device_of_the_page_gives_a_table_without_times_of_nodes(
    tiny: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, protocol = open_device("my_lab.mcu://m7"), MeasuringProtocol()
    *_, table = profile_device(device, tiny, protocol=protocol, resolutions=[24])
    assert isinstance(table, LatencyTable)
    table.save(tmp_path / "m7.json")
    again = LatencyTable.load(tmp_path / "m7.json")
    assert (again.device.runtime, again.provider) == ("mcusim", "mcusim")
    assert again.measured
    assert again.measured.errors().mape < 0.01
    kept = device.time
    monkeypatch.setattr(device, "time", lambda models, protocol: list(kept(models, protocol))[:-1])
    with pytest.raises(DeviceError, match=r"m7: time gave no visit of 24/.*; expected one or more for each"):
        list(profile_device(device, tiny, protocol=protocol, resolutions=[24]))
    without = replace(device.info(), environment={})
    monkeypatch.setattr(device, "time", kept)
    monkeypatch.setattr(device, "info", lambda: without)
    with pytest.raises(DeviceError, match=r"m7: profile gave nothing for 24/.* a provider in info"):
        list(profile_device(device, tiny, protocol=protocol, resolutions=[24]))


class Block(nn.Module):
    """A basic block of torchvision's, by its names."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        shortcut = (nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        self.downsample = nn.Sequential(*shortcut if stride == 2 else ())

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(inner)) + self.downsample(x))


class SmallResNet(nn.Module):
    """The ResNet of the page, by torchvision's names."""

    def __init__(self, *, classes: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 48, 3, 2, 1, bias=False), nn.BatchNorm2d(48)
        for stage, (channels, out) in enumerate(pairwise((48, 48, 96, 192, 384)), start=1):
            self.add_module(f"layer{stage}", nn.Sequential(Block(channels, out, 2), Block(out, out, 1)))
        self.fc = nn.Linear(384, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        return cast(Tensor, self.fc(x.mean((2, 3))))


def test_the_pretrained_network_of_the_page_computes_the_same_as_a_supernet(lab: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    network = SmallResNet(classes=3).eval()
    for tensor in network.state_dict().values():
        if tensor.ndim == 1:  # batch norms that do something
            tensor.uniform_(0.5, 1.5, generator=generator)
    torch.save(network.state_dict(), lab / "my_lab" / "resnet.pth")
    start = open_start("my_lab.resnet")
    assert (start.data, start.class_names) == ("my_lab.resnet", ("bolts", "nuts", "washers"))
    x = torch.randn(2, 3, 64, 64, generator=generator)
    for names, rows in ((start.class_names, [0, 1, 2]), (("washers", "bolts"), [2, 0])):
        supernet = start_supernet(start, class_ids=(), class_names=names, generator=generator)
        with torch.no_grad():
            found = supernet(x, supernet.space.largest).numpy()
            assert relative_error(found, network(x)[:, rows].numpy()) < 1e-4


def test_the_kinds_of_the_page_are_the_folders_there_are() -> None:
    text = (DOCS / "extending.md").read_text(encoding="utf-8")
    folders = re.findall(r"`ofa_nas/([a-z/]+)/`", text)
    assert len(folders) >= 6
    for folder in folders:
        kind = folder.replace("/", ".")
        load_plugin(kind, plugin_names(kind)[0])


def assert_subnets_are_right(space: SearchSpace) -> None:
    """The supernet, an extracted subnet and its ONNX file agree, and costs are tables."""
    encoding = Encoding.of(space)
    supernet = Supernet(space, torch.Generator().manual_seed(0))
    drawn = encoding.decode(encoding.sample(2, np.random.default_rng(0)))
    for arch in (space.smallest, space.largest, *drawn):
        x = torch.randn(1, 3, arch.resolution, arch.resolution, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            subnet = supernet.extract(arch)
            logits = supernet(x, arch).numpy()
        model = write_model(subnet.walk, subnet.folded_weights())
        assert relative_error(run_onnx(model, x.numpy()), logits) < 1e-4, arch
        counted = network_macs(space, arch)
        assert tabulate(encoding, layer_macs).total(encoding.encode([arch]))[0] == counted
