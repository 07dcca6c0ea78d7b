"""Search spaces: closed forms of once-for-all's MobileNetV3, and files that are wrong."""

import json
import re
from itertools import pairwise, product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ofa_nas.assets import asset_folder
from ofa_nas.errors import ArchitectureError, OfaNasError, SpaceError
from ofa_nas.space.architecture import Architecture, Block
from ofa_nas.space.costs import layer_parameters, network_macs
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.space.stages import make_divisible

TINY_TEXT = (asset_folder("search_spaces") / "tiny.toml").read_text()
TINY_LINES = TINY_TEXT.splitlines()


def test_the_mark_that_editors_of_windows_begin_files_with_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_bytes(TINY_TEXT.replace("\n", "\r\n").encode("utf-8-sig"))
    assert SearchSpace.load(tmp_path / "tiny.toml") == SearchSpace.load("tiny")


def uniform(resolution: int, *, depth: int, expand: int, kernel: int) -> Architecture:
    """MobileNetV3 with one choice for all of its five elastic stages."""
    stage = (Block(kernel, expand),) * depth
    return Architecture(resolution, ((Block(3, 1),), *(stage,) * 5))


# OFA.md 3.1: ranges measured with once-for-all's own classes.
@pytest.mark.parametrize(
    ("depth", "expand", "kernel", "resolution", "million_macs", "million_parameters"),
    [
        (2, 3, 3, 128, 41.5, 3.411),
        (4, 6, 7, 224, 566.2, 7.665),
        (4, 6, 7, 128, 188.2, 7.665),
        (2, 3, 3, 224, 121.3, 3.411),
        (4, 6, 3, 224, 433.1, 7.300),
        (2, 6, 7, 224, 282.6, 4.838),
        (4, 3, 7, 224, 292.7, 4.554),
    ],
)
def test_corners_of_mobilenet_v3_cost_what_once_for_all_counts(
    depth: int, expand: int, kernel: int, resolution: int, million_macs: float, million_parameters: float
) -> None:
    space = SearchSpace.load("mobilenet_v3")
    arch = uniform(resolution, depth=depth, expand=expand, kernel=kernel)
    space.check(arch)
    assert round(network_macs(space, arch) / 1e6, 1) == million_macs
    # Half a thousand off is rounding in the published figure, which has three decimals.
    assert sum(map(layer_parameters, space.layers(arch))) / 1e6 == pytest.approx(
        million_parameters, abs=5.1e-4
    )


@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("mobilenet_v3", [16, 16, 24, 40, 80, 112, 160, 960, 1280]),
        ("mobilenet_v3_w1.2", [24, 24, 32, 48, 96, 136, 192, 1152, 1536]),
        ("efficientnet_lite", [32, 16, 24, 40, 80, 112, 192, 320, 1280, 0]),
    ],
)
def test_widths_are_the_published_ones(name: str, widths: list[int]) -> None:
    space = SearchSpace.load(name)
    stages = [stage.width for stage in space.stages]
    assert [space.stem.width, *stages, space.head.width, space.head.mix_width] == widths


def test_make_divisible_rounds_to_eights_and_never_below_nine_tenths() -> None:
    values = (1, 8, 8.6, 11.9, 12, 16 * 1.2, 24 * 1.2, 1280 * 1.2)
    assert [make_divisible(value) for value in values] == [8, 8, 8, 16, 16, 24, 32, 1536]


@given(st.floats(1, 1e5))
def test_make_divisible_stays_close(channels: float) -> None:
    rounded = make_divisible(channels)
    assert rounded % 8 == 0
    assert rounded >= max(8, 0.9 * channels)
    assert rounded <= max(8, channels + 8)


def test_layers_form_a_chain(tiny: SearchSpace) -> None:
    layers = list(tiny.layers(tiny.largest))
    for before, after in pairwise(layers):
        assert (before.out_channels, before.out_size) == (after.in_channels, after.in_size)
    assert layers[-1].out_channels == tiny.classes


def test_only_blocks_that_keep_their_shape_have_a_residual() -> None:
    space = SearchSpace.load("mobilenet_v3")
    for layer in space.layers(space.largest):
        keeps = layer.kind == "mbconv" and layer.stride == 1 and layer.in_channels == layer.out_channels
        assert layer.residual == keeps


def every_architecture(space: SearchSpace) -> set[Architecture]:
    stages = [
        [blocks for depth in stage.depths for blocks in product(stage.choices, repeat=depth)]
        for stage in space.stages
    ]
    return {
        Architecture(resolution, chosen) for resolution in space.resolutions for chosen in product(*stages)
    }


def test_cardinality_is_the_number_of_architectures(tiny: SearchSpace) -> None:
    archs = every_architecture(tiny)
    assert len(archs) == tiny.cardinality == 800
    for arch in archs:
        tiny.check(arch)


def test_the_ends_of_a_space_belong_to_it(tiny: SearchSpace) -> None:
    assert str(tiny.smallest) == "24/3x2/3x2"
    assert str(tiny.largest) == "32/5x3.5x3/5x3.5x3"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("28/3x2/3x2", "resolution 28; allowed: 24, 32"),
        ("24/3x2", "1 stages; it has 2"),
        ("24/3x2/3x2.3x2.3x2", "stage 1 has 3 blocks; allowed: 1, 2"),
        ("24/3x2/7x2", "stage 1 holds 7x2; allowed: 3x2 3x3 5x2 5x3"),
    ],
)
def test_a_foreign_architecture_is_refused_where_it_leaves_the_space(
    tiny: SearchSpace, text: str, message: str
) -> None:
    with pytest.raises(ArchitectureError, match=re.escape(message)):
        tiny.parse(text)


def test_the_digest_follows_the_geometry_and_nothing_else(tmp_path: Path) -> None:
    def digest(text: str) -> str:
        return SearchSpace.load(str(write(tmp_path, text))).digest

    assert digest(TINY_TEXT.replace("Two small", "A pair of")) == SearchSpace.load("tiny").digest
    assert digest(TINY_TEXT.replace("width = 48", "width = 56")) != SearchSpace.load("tiny").digest


@pytest.mark.parametrize("name", ["tiny", "mobilenet_v3_w1.2"])
def test_a_space_survives_its_document(name: str) -> None:
    space = SearchSpace.load(name)
    document = json.loads(json.dumps(space.to_document()))
    assert SearchSpace.from_document(document, Path("sidecar.json")) == space


def write(folder: Path, text: str) -> Path:
    path = folder / "space.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "classes = 10",
            "classes = 10\ncolour = 3",
            "colour: is not known here; known keys: bn_epsilon, channels",
        ),
        (
            "mix_width = 64",
            "mixed = 64",
            "head.mixed: is not known here; known keys: activation, dropout, mix_width",
        ),
        (
            "depths = [1, 2]",
            "depths = [1, 2]\nse = 1",
            "stages[0].se: is not known here; known keys: activation",
        ),
        ("width = 16", 'width = "16"', "stages[1].width: expected an integer from 1 to 4096, got '16'"),
        (
            "squeeze_excite = true",
            "squeeze_excite = 1",
            "stages[1].squeeze_excite: expected true or false, got 1",
        ),
        ("[stem]", "[[stem]]", "stem: expected a table [stem], got ["),
        ("kernel_size = 3", "kernel_size = 4", "stem.kernel_size: expected an odd number, got 4"),
        ("depths = [1, 2]", "depths = [2, 1]", "stages[0].depths: expected rising integers"),
        (
            'activation = "relu"',
            'activation = "gelu"',
            "stem.activation: expected one of relu, relu6, hard_swish",
        ),
        ("resolutions = [24, 32]", "", "resolutions: is missing"),
        ("classes = 10", "classes =", "not valid TOML"),
        ('description = "Two', 'block = "x"\ndescription = "Two', "block: is not known here"),
        (
            "expand_ratios = [2, 3]",
            'block = "nope"\nexpand_ratios = [2, 3]',
            "stages[0].block: expected one of",
        ),
    ],
)
def test_a_wrong_file_is_refused_by_path_key_and_what_is_right(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in TINY_TEXT
    path = write(tmp_path, TINY_TEXT.replace(old, new, 1))
    with pytest.raises(SpaceError, match=re.escape(message)) as refusal:
        SearchSpace.load(str(path))
    assert str(refusal.value).startswith(f"{path}: ")


def test_a_missing_space_lists_what_ships() -> None:
    with pytest.raises(SpaceError, match=r"nope: no such search space; shipped: .*mobilenet_v3.*tiny"):
        SearchSpace.load("nope")


VALUES = st.one_of(
    st.integers(-(2**40), 2**40).map(str),
    st.floats().map(str),
    st.sampled_from(["true", "[]", "{}", "[[]]", "[1, 3]", "[5, 3]", '"relu"', '["a"]', "1979-05-27", "nan"]),
    st.sampled_from(
        ["{ from = 1, to = 9, step = 2 }", "{ from = 9, to = 1, step = 3 }", '"os.path"', '"..."']
    ),
    st.text(max_size=8),
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(line=st.integers(0, len(TINY_LINES) - 1), value=VALUES)
def test_a_changed_line_gives_a_space_or_a_space_error(tmp_path: Path, line: int, value: str) -> None:
    key = TINY_LINES[line].split("=")[0]
    changed = [*TINY_LINES[:line], f"{key}= {value}", *TINY_LINES[line + 1 :]]
    path = write(tmp_path, "\n".join(changed).encode("utf-8", "replace").decode())
    try:
        space = SearchSpace.load(str(path))
        assert network_macs(space, space.smallest) > 0
    except OfaNasError:
        pass


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60))
def test_any_bytes_give_a_space_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "space.toml"
    path.write_bytes(content)
    with pytest.raises(SpaceError):
        SearchSpace.load(str(path))


@pytest.mark.parametrize("text", ["32/3x2", "32/3x2/3x2/3x2"])
def test_an_architecture_of_more_or_fewer_stages_has_no_layers(tiny: SearchSpace, text: str) -> None:
    with pytest.raises(ArchitectureError, match=r"is not in tiny: \d stages; it has 2"):
        list(tiny.layers(Architecture.parse(text)))
