"""Genes: canonical whatever is done to them, in every shipped space."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofa_nas.assets import asset_names
from ofa_nas.errors import ArchitectureError
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.costs import layer_macs, tabulate
from ofa_nas.space.encoding import ABSENT, Encoding, Genes
from ofa_nas.space.search_space import SearchSpace

SPACES = asset_names("search_spaces", suffix=".toml")
ENCODINGS = {name: Encoding.of(SearchSpace.load(name)) for name in SPACES}
NAMES = st.sampled_from(SPACES)
SEEDS = st.integers(0, 2**32 - 1)


def in_space(encoding: Encoding, genes: np.ndarray) -> bool:
    """Whether every row is canonical and its architecture is of the space and encodes back."""
    archs = encoding.decode(genes)
    for arch in archs:
        encoding.space.check(arch)
    return bool(encoding.is_canonical(genes).all()) and np.array_equal(encoding.encode(archs), genes)


@given(NAMES, SEEDS)
def test_samples_stay_in_the_space_and_encode_back(name: str, seed: int) -> None:
    encoding = ENCODINGS[name]
    assert in_space(encoding, encoding.sample(20, np.random.default_rng(seed)))


@given(NAMES, SEEDS, st.floats(0, 1))
def test_mutants_stay_in_the_space(name: str, seed: int, rate: float) -> None:
    encoding, rng = ENCODINGS[name], np.random.default_rng(seed)
    genes = encoding.sample(20, rng)
    before = genes.copy()
    assert in_space(encoding, encoding.mutate(genes, rng, rate=rate))
    assert np.array_equal(genes, before)


@given(NAMES, SEEDS)
def test_children_stay_in_the_space(name: str, seed: int) -> None:
    encoding, rng = ENCODINGS[name], np.random.default_rng(seed)
    first, second = encoding.sample(20, rng), encoding.sample(20, rng)
    assert in_space(encoding, encoding.crossover(first, second, rng))


@given(NAMES, SEEDS)
def test_a_child_takes_every_block_and_depth_from_a_parent(name: str, seed: int) -> None:
    encoding, rng = ENCODINGS[name], np.random.default_rng(seed)
    first, second = encoding.sample(20, rng), encoding.sample(20, rng)
    child = encoding.crossover(first, second, rng)
    present = child != ABSENT
    present[:, 0] = True
    assert ((child == first) | (child == second))[present].all()
    depths = encoding.depths(child)
    assert ((depths == encoding.depths(first)) | (depths == encoding.depths(second))).all()


@given(NAMES, SEEDS)
def test_a_parent_crossed_with_itself_or_not_mutated_is_unchanged(name: str, seed: int) -> None:
    encoding, rng = ENCODINGS[name], np.random.default_rng(seed)
    genes = encoding.sample(20, rng)
    assert np.array_equal(encoding.crossover(genes, genes, rng), genes)
    assert np.array_equal(encoding.mutate(genes, rng, rate=0.0), genes)


def test_the_same_seed_gives_the_same_samples(encoding: Encoding) -> None:
    first, second = (encoding.sample(50, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(first, second)


def test_samples_reach_every_architecture(encoding: Encoding) -> None:
    genes = encoding.sample(40_000, np.random.default_rng(0))
    assert len(np.unique(genes, axis=0)) == encoding.space.cardinality


@pytest.mark.parametrize(
    "row",
    [[2, 1, 0, 1, 0], [-1, 1, 0, 1, 0], [0, 0, 1, 1, 0], [0, 0, 0, 1, 0], [0, 5, 0, 1, 0], [0, 1, 0, 1, -1]],
)
def test_rows_that_are_no_architecture_are_not_canonical(encoding: Encoding, row: list[int]) -> None:
    good = [0, 1, 0, 4, 4]
    assert encoding.is_canonical(np.array([good, row])).tolist() == [True, False]


@pytest.mark.parametrize("kind", np.typecodes["AllInteger"])
def test_genes_may_be_integers_of_any_kind(kind: str) -> None:
    encoding = ENCODINGS["tiny"]
    first, second = encoding.sample(2 * 30, np.random.default_rng(0)).reshape(2, 30, -1)
    macs, own = tabulate(encoding, layer_macs), first.astype(kind)
    assert encoding.decode(own) == encoding.decode(first)
    assert np.array_equal(macs.total(own), macs.total(first))
    child = encoding.crossover(own, second.astype(kind), np.random.default_rng(1))
    assert np.array_equal(child, encoding.crossover(first, second, np.random.default_rng(1)))


@pytest.mark.parametrize(
    ("genes", "told"),
    [
        ([[0, 1, 0, 1, 0]], "expected an array of integers (n, 5), got list"),
        (np.zeros(5, dtype=np.int16), "(n, 5), got an array of int16 (5,)"),
        (np.zeros((2, 4), dtype=np.int16), "(n, 5), got an array of int16 (2, 4)"),
        (np.ones((2, 5)), "(n, 5), got an array of float64 (2, 5)"),
        (np.array([[0, 1, 1, 1, 1], [0, 1, -1, 1, 1]]), "row 1 has -1 for gene 2; expected 0 to 4"),
        (np.array([[2, 1, 1, 1, 1]]), "row 0 has 2 for gene 0; expected 0 to 1"),
        (np.array([[0, 5, 1, 1, 1]]), "row 0 has 5 for gene 1; expected 0 to 4"),
    ],
)
def test_what_are_no_genes_of_the_space_is_refused_and_never_read_as_others(genes: Genes, told: str) -> None:
    encoding = ENCODINGS["tiny"]
    for use in (encoding.decode, tabulate(encoding, layer_macs).total):
        with pytest.raises(ArchitectureError, match=re.escape(told)):
            use(genes)


def test_a_stage_with_a_gap_is_not_decoded() -> None:
    with pytest.raises(ArchitectureError, match=r"row 0 is \[0, 0, 1, 1, 1\], a stage with a gap"):
        ENCODINGS["tiny"].decode(np.array([[0, 0, 1, 1, 1]]))


@pytest.mark.parametrize("text", ["32/3x2.3x2/3x2.3x2.3x2", "32/3x2/9x9", "48/3x2/3x2", "32/3x2"])
def test_an_architecture_of_another_space_is_not_encoded(text: str) -> None:
    with pytest.raises(ArchitectureError, match="is not in tiny"):
        ENCODINGS["tiny"].encode([Architecture.parse(text)])


def test_encodings_and_tables_can_be_compared_and_kept_in_sets() -> None:
    one, same = (Encoding.of(SearchSpace.load("tiny")) for _ in range(2))
    assert one == same
    assert len({one, same, ENCODINGS["resnet"]}) == 2
    table = tabulate(one, layer_macs)
    assert {table: 1}[table]
    assert table != tabulate(one, layer_macs)
