"""`ofa-nas evaluate`."""

from collections.abc import Callable

from ofa_nas.space.search_space import SearchSpace
from tests.cli.conftest import Command
from tests.small_supernet import SmallSupernet


def test_smallest_middle_and_largest_are_evaluated_without_names(
    command: Command, small: SmallSupernet, tiny: SearchSpace
) -> None:
    printed = command("evaluate", "--supernet", small.name, "--json")
    assert (printed.status, printed.err) == (0, "")
    results = printed.document["results"]
    assert [result["architecture"] for result in results] == [
        str(arch) for arch in (tiny.smallest, tiny.middle, tiny.largest)
    ]
    for result in results:
        assert result.keys() == {"architecture", "accuracy", "half_width", "images", "macs"}
        assert result["images"] == 100
        assert result["accuracy"] > 0.25


def test_people_get_a_table(command: Command, small: SmallSupernet) -> None:
    arguments = ("--supernet", small.name, "--data", small.data, "--images", "50")
    printed = command("evaluate", "24/3x2/3x2", *arguments)
    assert printed.status == 0
    assert "24/3x2/3x2" in printed.out
    assert " 50 " in printed.out
    assert "points" in printed.out


def test_wrong_inputs_are_one_line(refused: Callable[..., str], small: SmallSupernet) -> None:
    assert "no_such: no such supernet" in refused("evaluate", "--supernet", "no_such")
    assert "99/3x2/3x2" in refused("evaluate", "99/3x2/3x2", "--supernet", small.name)
    assert "no such folder" in refused("evaluate", "--supernet", small.name, "--data", "no/such/folder")
    assert "--images 0: expected 1 or more" in refused("evaluate", "--supernet", small.name, "--images", "0")
