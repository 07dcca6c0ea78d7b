"""`ofa-nas search`: what is made best, and what is evaluated before one is chosen."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.conftest import Command
from tests.small_supernet import SmallSupernet

Refused = Callable[..., str]


def test_an_objective_turns_the_search_round(
    command: Command, small: SmallSupernet, refused: Refused
) -> None:
    search = ("search", "--supernet", small.name)
    best = command(*search, "--json").document["predicted"]["accuracy"]
    goal = f"{best - 0.02:.4f}"
    found = command(*search, "--objective", "macs", "--accuracy", goal, "--json").document
    assert found["objective"] == {"name": "macs", "device": None, "accuracy": float(goal)}
    assert found["predicted"]["accuracy"] >= float(goal)
    assert found["predicted"]["macs"] < command(*search, "--json").document["predicted"]["macs"]
    told = command(*search, "--objective", "macs", "--accuracy", goal).out
    assert f"objective the least MACs that is predicted to reach {best - 0.02:.1%} top-1" in told
    assert "none within the budgets that costs less is predicted to reach it" in told
    for flags, message in (
        (("--objective", "macs"), "--objective macs needs the accuracy to reach: --accuracy 65%"),
        (("--accuracy", "50%"), "say which with --objective latency, peak-memory, model-size or macs"),
        (("--objective", "latency", "--accuracy", "50%"), "add --device host, or a table"),
        (("--objective", "macs", "--accuracy", "5", "--macs", "1,2M"), "give one value for each budget"),
    ):
        assert message in refused(*search, *flags)


@pytest.mark.slow
def test_candidates_are_evaluated_before_one_is_chosen(
    command: Command, small: SmallSupernet, refused: Refused
) -> None:
    search = ("search", "--supernet", small.name, "--macs", "400k")
    evaluated = (*search, "--data", small.data, "--images", "40")
    document = command(*evaluated, "--json").document
    networks = document["contest"]["networks"]
    assert document["contest"]["images"] == 40
    assert document["architecture"] == networks[0]["architecture"]
    assert [one["accuracy"] for one in networks] == sorted(
        (one["accuracy"] for one in networks), reverse=True
    )
    assert max(one["predicted"]["macs"] for one in networks) <= 400_000
    told = command(*evaluated).out
    assert "evaluated on 40 images of" in told
    assert f"{networks[0]['measured']['accuracy']:.1%}" in told
    assert "--images 40: of which data set?" in refused(*search, "--images", "40")
    assert "--data orders candidates by accuracy" in refused(
        "search", "--supernet", small.name, "--objective", "macs", "--accuracy", "10%", "--data", small.data
    )


def test_data_that_cannot_serve_are_refused_before_anything_is_measured(
    small: SmallSupernet, refused: Refused, tmp_path: Path
) -> None:
    for label in "ab":
        (tmp_path / "few" / label).mkdir(parents=True)
        for number in range(12):
            Image.new("RGB", (8, 8)).save(tmp_path / "few" / label / f"{number}.png")
    search = ("search", "--supernet", small.name, "--device", "ssh://nobody@nowhere.invalid", "--data")
    assert "the data have 2 classes from 'a', the supernet 10" in refused(*search, tmp_path / "few")
    assert "no such folder" in refused(*search, tmp_path / "none")
