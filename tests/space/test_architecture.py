"""The text form of an architecture."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofa_nas.errors import ArchitectureError
from ofa_nas.space.architecture import Architecture, Block

BLOCKS = st.builds(Block, st.integers(1, 99), st.integers(1, 99))
ARCHITECTURES = st.builds(
    Architecture,
    st.integers(1, 99_999),
    st.lists(st.lists(BLOCKS, min_size=1, max_size=4).map(tuple), min_size=1, max_size=6).map(tuple),
)


@given(ARCHITECTURES)
def test_text_reads_back_as_the_same_architecture(arch: Architecture) -> None:
    assert Architecture.parse(str(arch)) == arch


def test_text_is_resolution_then_stages_of_blocks() -> None:
    arch = Architecture(192, ((Block(3, 1),), (Block(5, 6), Block(3, 4))))
    assert str(arch) == "192/3x1/5x6.3x4"
    assert [len(stage) for stage in arch.stages] == [1, 2]


@given(st.one_of(st.text(), st.from_regex(r"[0-9x./+ -]*", fullmatch=True)))
def test_any_other_text_is_refused_as_an_architecture_error(text: str) -> None:
    try:
        arch = Architecture.parse(text)
    except ArchitectureError:
        return
    assert str(arch) == text.strip()


@pytest.mark.parametrize(
    "text", ["", "192", "192/", "0/3x1", "192/3x0", "192/3x1.", "192/3x1//3x1", "192/٣x1"]
)
def test_near_misses_are_refused(text: str) -> None:
    with pytest.raises(ArchitectureError, match=r"expected RESOLUTION|is no block"):
        Architecture.parse(text)


def test_a_wrong_block_is_named() -> None:
    with pytest.raises(ArchitectureError, match="'5y6' is no block"):
        Architecture.parse("192/3x1/5y6")
