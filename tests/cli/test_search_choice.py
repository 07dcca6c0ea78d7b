"""`ofa-nas search`: what is made best, and what is evaluated before one is chosen."""

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ofa_nas.cli.contest import pick_candidates
from ofa_nas.errors import BudgetError
from ofa_nas.pipeline.searching.contest import pick_contenders
from ofa_nas.pipeline.searching.estimators import Estimators
from ofa_nas.pipeline.searching.finalists import pick_finalists
from ofa_nas.pipeline.searching.search import SearchResult, search_supernet
from ofa_nas.search.budgets import Budget
from ofa_nas.space.search_space import SearchSpace
from tests.cli.conftest import Command
from tests.small_supernet import SmallSupernet, exact_table

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
    assert f"objective the least MACs that is predicted to reach {100 * float(goal):.6g}% top-1" in told
    assert "none within the budgets that costs less is predicted to reach it" in told
    for flags, message in (
        (("--objective", "macs"), "--objective macs needs the accuracy to reach: --accuracy 65%"),
        (("--accuracy", "50%"), "add --objective latency, peak-memory, model-size or macs"),
        (("--objective", "latency", "--accuracy", "50%"), "add --device host, or a table"),
        (("--objective", "macs", "--accuracy", "5", "--macs", "1,2M"), "give one value for each budget"),
    ):
        assert message in refused(*search, *flags)


def test_a_file_far_below_the_accuracy_that_was_asked_breaks_the_promise(
    command: Command, small: SmallSupernet, tmp_path: Path
) -> None:
    files = small.copy_to(tmp_path / "relabelled")
    with np.load(files.held_out) as sample:
        content = dict(sample)
    np.savez(files.held_out, **{**content, "label": (content["label"] + 1) % 10})
    path = tmp_path / "subnet.onnx"
    search = ("search", "--objective", "macs", "--accuracy", "50%", "--export", path, "--supernet")
    found = command(*search, files.weights, "--json")
    assert (found.status, found.err) == (1, "")
    assert found.document["measured"]["exceeds_budget"]
    assert [one["quantity"] for one in found.document["checks"] if not one["is_met"]] == ["accuracy"]
    assert path.is_file()


def test_methods_are_compared_at_equal_effort(
    command: Command, refused: Refused, small: SmallSupernet
) -> None:
    search = ("search", "--supernet", small.name, "--macs", "400k", "--evaluations", "60")
    goal = ("--objective", "macs", "--accuracy", "1%")
    for method in ("ageing", "evolution", "local", "optuna", "random"):
        found = command(*search, "--method", method, "--seeds", "3", "--json").document
        assert (found["search"]["evaluations"], len(found["by_seed"])) == (180, 3), method
        cheapest = command(*search, *goal, "--method", method, "--json").document
        assert cheapest["search"]["evaluations"] % 60 == 0, method
    told = "--evaluations 60 limits a search that tries subnets, and exact solves for the best of all: leave"
    for flags in ((), goal, ("--method", "exact")):
        assert told in refused(*search, *flags)


def test_the_spread_of_several_seeds_is_told(command: Command, small: SmallSupernet) -> None:
    search = ("search", "--supernet", small.name, "--macs", "400k")
    random = (*search, "--method", "random", "--seed", "3")
    document = command(*random, "--seeds", "2", "--json").document
    alone = command(*random, "--json").document
    assert len(document["by_seed"]) == 2
    assert max(document["by_seed"]) == document["predicted"]["accuracy"]
    assert (alone["by_seed"], document["made_by"]["seed"]) == (document["by_seed"][:1], 3)
    assert document["search"]["evaluations"] == 2 * alone["search"]["evaluations"]
    low, high = (100 * end(document["by_seed"]) for end in (min, max))
    told = f"seeds 2, of which the best was taken; their answers: {low:.2f} to {high:.2f} %"
    assert told in command(*random, "--seeds", "2").text
    listed = command(*random, "--seeds", "2", "--macs", "200,400k")
    assert "their answers: " in listed.text
    assert listed.text.count(" to ") == 2
    assert "seeds one: --seeds 5 takes the best of five" in command(*random).text
    exact = command(*search, "--seeds", "2", "--json").document
    assert len(exact["by_seed"]) == 1
    assert "seeds one: nothing in an exact search is random" in command(*search, "--seeds", "2").text
    assert "seeds " not in command(*search).text
    goal = ("--objective", "macs", "--accuracy", f"{document['predicted']['accuracy'] - 0.02:.4f}")
    cheapest = command(*random, *goal, "--seeds", "2", "--json").document
    assert cheapest["predicted"]["macs"] == min(cheapest["by_seed"])


def test_every_search_gets_its_own_seed_and_what_was_asked_for(
    refused: Refused, small: SmallSupernet, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, object]] = []

    def find_nothing(*_: object, **options: object) -> None:
        asked.append(options)
        raise BudgetError("nothing is found")

    monkeypatch.setattr("ofa_nas.pipeline.searching.search.search_supernet", find_nothing)
    monkeypatch.setattr("ofa_nas.pipeline.searching.cheapest.search_cheapest", find_nothing)
    flags = [
        "--device",
        "rpi4",
        "--latency",
        "1s",
        "--margin",
        "0.2",
        "--method",
        "random",
        "--seed",
        "3",
        "--seeds",
        "2",
        "--evaluations",
        "9",
    ]
    for goal in ((), ("--objective", "macs", "--accuracy", "10%")):
        assert "nothing is found" in refused("search", "--supernet", small.name, *flags, *goal)
    how = {"method": "random", "max_evaluations": 9, "margin": 0.2}
    assert asked == [how | {"seed": seed} for seed in (3, 4)] * 2


@pytest.mark.slow
def test_candidates_are_evaluated_before_one_is_chosen(
    command: Command, small: SmallSupernet, refused: Refused, tmp_path: Path
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
    told = command(*evaluated).text
    assert "evaluated on 40 images of" in told
    assert f"{networks[0]['measured']['accuracy']:.1%}" in told
    assert document["contest"]["held_out"]["images"] == len(small.held_out)
    held_out = document["contest"]["held_out"]["accuracy"]
    assert f"held out top-1 {held_out:.1%} ±" in told
    exported = command(*evaluated, "--export", tmp_path / "subnet.onnx", "--json").document
    assert exported["contest"]["held_out"] is None
    assert exported["measured"]["accuracy"] == held_out
    few = command(*evaluated, "--finalists", "3", "--json").document
    assert len(few["contest"]["networks"]) == 3 < len(networks)
    none_timed = command(*evaluated, "--finalists", "0", "--json").document
    assert len(none_timed["contest"]["networks"]) == len(networks)
    assert "--images 40 needs a data set: add --data" in refused(*search, "--images", "40")
    assert "--data ranks candidates by accuracy" in refused(
        "search", "--supernet", small.name, "--objective", "macs", "--accuracy", "10%", "--data", small.data
    )


def test_with_images_the_best_are_evaluated_whether_or_not_a_device_times_them(
    small: SmallSupernet, tiny: SearchSpace
) -> None:
    estimators = Estimators.load(small.name, exact_table(tiny))

    def picked(budget: Budget, device: str, *, data: str | None, finalists: int | None = None) -> list[str]:
        *_, result = search_supernet(estimators, [budget], margin=0.1)
        assert isinstance(result, SearchResult)
        found = pick_candidates(Namespace(data=data, finalists=finalists), result, device)
        contenders = pick_contenders(result, count=finalists or 8)
        if data is not None:
            assert all(one in found for one in contenders)
        if finalists != 0 and device:
            timed = pick_finalists(result, device, count=min(finalists or 5, 5))
            assert all(one in found for one in timed)
        assert found == sorted(found, key=lambda one: one.accuracy, reverse=True)
        return [str(one.architecture) for one in found]

    macs, latency = Budget("macs", 400_000, "MACs"), Budget("latency", 5.0, "ms", "exact")
    assert len(picked(macs, "", data=None)) == len(picked(macs, "exact", data=None)) == 1
    assert len(picked(macs, "", data="photos")) == 8
    assert picked(macs, "exact", data="photos") == picked(macs, "", data="photos")
    assert len(picked(macs, "exact", data="photos", finalists=3)) == 3
    assert len(picked(latency, "exact", data=None)) == 5
    both = picked(latency, "exact", data="photos")
    assert len(picked(latency, "", data="photos")) == 8 < len(both) <= 12
    assert picked(latency, "exact", data="photos", finalists=0) == picked(latency, "", data="photos")


def test_data_that_cannot_serve_are_refused_before_anything_is_measured(
    small: SmallSupernet, refused: Refused, tmp_path: Path
) -> None:
    for label in "ab":
        (tmp_path / "few" / label).mkdir(parents=True)
        for number in range(12):
            Image.new("RGB", (8, 8)).save(tmp_path / "few" / label / f"{number}.png")
    search = ("search", "--supernet", small.name, "--device", "ssh://nobody@nowhere.invalid", "--data")
    assert "the data have 2 classes from 'a', the network 10" in refused(*search, tmp_path / "few")
    assert "no such folder" in refused(*search, tmp_path / "none")
