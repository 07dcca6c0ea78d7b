"""Named points: read with the space, kept in its documents, and no part of its geometry."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from ofa_nas.assets import asset_folder, asset_names
from ofa_nas.errors import SpaceError
from ofa_nas.space.costs import network_macs
from ofa_nas.space.points import Point
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet_card import SupernetCard

TINY = (asset_folder("search_spaces") / "tiny.toml").read_text()
ARCH = "32/3x2/5x3.5x3"
POINT = f'\n[points.pocket_net]\narchitecture = "{ARCH}"\n'


def load(folder: Path, text: str) -> SearchSpace:
    path = folder / "own.toml"
    path.write_text(TINY + text, encoding="utf-8")
    return SearchSpace.load(str(path))


def test_a_point_is_read_with_its_note_and_survives_the_document(tmp_path: Path) -> None:
    space = load(tmp_path, POINT + 'note = "without its pockets"\n')
    expected = {"pocket_net": Point(space.parse(ARCH), "without its pockets")}
    assert space.points == expected
    document = json.loads(json.dumps(space.to_document()))
    assert SearchSpace.from_document(document, Path("card.json")).points == expected


def test_points_change_neither_the_digest_nor_equality(tmp_path: Path) -> None:
    space = load(tmp_path, POINT)
    plain = replace(space, points={})
    assert space == plain
    assert space.digest == plain.digest == SearchSpace.load("tiny").digest
    assert "points" not in plain.to_document()


def test_a_smaller_space_does_not_keep_points_that_may_lie_outside(tmp_path: Path) -> None:
    assert load(tmp_path, POINT).keep_largest(expand_ratios=1).points == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            POINT.replace("32/", "40/"),
            "points.pocket_net.architecture: architecture 40/3x2/5x3.5x3 is not in",
        ),
        (POINT.replace(ARCH, "32"), "points.pocket_net.architecture: architecture '32': expected RESOLUTION"),
        (POINT.replace("pocket_net", "largest"), "points.largest: expected a name of small letters"),
        (POINT.replace("pocket_net", '"a,b"'), "points.a,b: expected a name of small letters"),
        (
            POINT + "colour = 3\n",
            "points.pocket_net.colour: is not known here; known keys: architecture, note",
        ),
        ("\n[points]\npocket_net = 3\n", "points.pocket_net: expected a table [pocket_net], got 3"),
    ],
)
def test_a_wrong_point_is_refused_by_its_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SpaceError, match=re.escape(message)):
        load(tmp_path, text)


# Howard et al. 2019, arXiv:1905.02244, table 1: 219 M MACs at 224 px; ratio 3 for 2.5 and 2.3 costs 7 M more.
def test_mobilenet_v3_large_costs_what_its_authors_count() -> None:
    space = SearchSpace.load("mobilenet_v3")
    arch = space.points["mobilenet_v3_large"].architecture
    assert network_macs(space, arch) / 1e6 == pytest.approx(219, rel=0.05)


@pytest.mark.parametrize("name", asset_names("search_spaces", suffix=".toml"))
def test_a_shipped_point_says_where_it_differs(name: str) -> None:
    assert all(point.note for point in SearchSpace.load(name).points.values())


def test_the_shipped_card_has_the_points_of_its_space() -> None:
    card = SupernetCard.load(asset_folder("supernets") / "efficientnet_lite.json")
    assert card.space.points == SearchSpace.load(card.space.name).points
