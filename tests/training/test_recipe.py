"""Recipes: where a step stands, and what a file may say."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofa_nas.errors import ConfigError, OfaNasError, RecipeError
from ofa_nas.pipeline.running.run_file import RunFile
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.training.phase import LIMITS, Phase
from ofa_nas.training.recipe import Recipe, Settings, recipe_names

PHASE = Phase("p", "largest", epochs=2.5, learning_rate=0.4, warmup=0.1, random_subnets=1)
TWO = Recipe("two", (replace(PHASE, teacher="none", epochs=1.0, random_subnets=0), PHASE), batch_size=40)


@given(total=st.integers(1, 500), warmup=st.floats(0.0, 1.0), data=st.data())
def test_rate_stays_between_zero_and_the_peak(total: int, warmup: float, data: st.DataObject) -> None:
    recipe = Recipe("one", (replace(PHASE, epochs=total, warmup=warmup),), batch_size=2)
    at = recipe.position(data.draw(st.integers(0, total - 1)), images=2)
    assert 0.0 < at.learning_rate <= 0.4


def test_steps_are_full_batches_of_all_epochs() -> None:
    assert TWO.steps_per_epoch(419) == 10
    assert TWO.phase_steps(419) == (10, 25)
    assert TWO.total_steps(419) == 35
    assert replace(TWO, phases=(replace(PHASE, epochs=0.001),)).total_steps(419) == 1


def test_a_step_stands_in_its_phase() -> None:
    places = [TWO.position(step, 419) for step in range(35)]
    assert [place.number for place in places] == [0] * 10 + [1] * 25
    assert [place.step for place in places] == [*range(10), *range(25)]
    assert {place.steps for place in places[10:]} == {25}
    assert places[34].phase is TWO.phases[1]


def test_epochs_are_shared_out_and_rates_follow_the_batch() -> None:
    longer = TWO.override(Settings(epochs=7.0, batch_size=80))
    assert [phase.epochs for phase in longer.phases] == pytest.approx([2.0, 5.0])
    assert [phase.learning_rate for phase in longer.phases] == pytest.approx([0.8, 0.8])
    given = TWO.override(Settings(learning_rate=0.1, batch_size=80, random_subnets=3, crop_scale=0.9, seed=4))
    assert [phase.learning_rate for phase in given.phases] == pytest.approx([0.1, 0.1])
    assert [phase.random_subnets for phase in given.phases] == [0, 3]  # nobody teaches the first phase
    assert (given.batch_size, given.crop_scale, given.seed) == (80, 0.9, 4)
    assert TWO.override(Settings()) == TWO
    own = Settings(flip="both", brightness=0.0, saturation=0.2, balance=1.0)
    expected = replace(TWO, flip="both", brightness=0.0, saturation=0.2, balance=1.0)
    assert TWO.override(own) == expected
    assert expected.override(Settings()) == expected


@pytest.mark.parametrize("name", LIMITS)
def test_options_recipes_and_run_files_take_the_same_numbers(name: str, tmp_path: Path) -> None:
    recipe, run = tmp_path / "own.toml", tmp_path / "run.toml"

    def is_taken(value: Any) -> list[bool]:
        phase = {"name": "'p'", "teacher": "'largest'", "epochs": "1", "learning_rate": "0.1"}
        top = {} if name in PHASE.__slots__ else {name: str(value)}
        phase |= {} if top else {name: str(value)}
        lines = [f"{key} = {text}" for key, text in top.items()]
        lines += ["[[phases]]", *(f"{key} = {text}" for key, text in phase.items())]
        recipe.write_text("\n".join(lines), encoding="utf-8")
        run.write_text(f"[train]\n{name} = {value}\n[search]\n", encoding="utf-8")
        taken = []
        for ask in (
            lambda: replace(Settings(), **{name: value}),
            lambda: Recipe.load(str(recipe)),
            lambda: RunFile.read(run),
        ):
            try:
                ask()
            except OfaNasError:
                taken.append(False)
            else:
                taken.append(True)
        return taken

    least, most = LIMITS[name]
    step = 1 if isinstance(least, int) else 0.1 * max(least, 1e-3)
    assert is_taken(least) == is_taken(most) == [True] * 3
    assert is_taken(least - step) == is_taken(most + max(1, 0.1 * most)) == [False] * 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0.0}, "--epochs 0.0: expected a number above 0"),
        ({"batch_size": 1}, "--batch-size 1: expected 2 or more"),
        ({"learning_rate": float("nan")}, "--learning-rate nan: expected a number above 0"),
        ({"crop_scale": 1.5}, "--crop-scale 1.5: expected a share of the area"),
        ({"brightness": -0.1}, "--brightness -0.1: expected a share from 0 to 1"),
        ({"saturation": 1.1}, "--saturation 1.1: expected a share from 0 to 1"),
        ({"balance": 2.0}, "--balance 2.0: expected a number from 0, classes as they are, to 1"),
    ],
)
def test_settings_that_cannot_be_trained_with_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Settings(**settings)  # type: ignore[arg-type]  # the batch size is an integer


@pytest.mark.parametrize("name", recipe_names())
def test_a_shipped_recipe_can_be_read(name: str) -> None:
    recipe = Recipe.load(name)
    assert recipe.name == name
    assert recipe.epochs > 0.0


@pytest.mark.parametrize("name", recipe_names())
def test_a_shipped_recipe_draws_all_of_a_space(name: str, tiny: SearchSpace) -> None:
    assert Recipe.load(name).draws_all_of(tiny)


def test_a_recipe_without_random_subnets_trains_a_space_of_one(tiny: SearchSpace) -> None:
    few = Recipe.load("sandwich").override(Settings(random_subnets=0))
    assert not few.draws_all_of(tiny)
    lone = replace(tiny.keep_largest(kernel_sizes=1, depths=1, expand_ratios=1), resolutions=(32,))
    assert few.draws_all_of(lone)


@pytest.mark.parametrize(
    "narrow",
    [
        replace(PHASE, kernel_sizes=1),
        replace(PHASE, depths=1),
        replace(PHASE, expand_ratios=1),
        replace(PHASE, resolutions=1),
    ],
)
def test_a_recipe_that_never_draws_some_of_a_space_is_known(narrow: Phase, tiny: SearchSpace) -> None:
    assert not Recipe("narrow", (narrow,)).draws_all_of(tiny)
    assert Recipe("narrow first", (narrow, PHASE)).draws_all_of(tiny)
    as_many = replace(PHASE, kernel_sizes=9, depths=9, expand_ratios=9, resolutions=9)
    assert Recipe("as many as there are", (as_many,)).draws_all_of(tiny)


def test_progressive_shrinking_is_the_published_schedule(tiny: SearchSpace) -> None:
    recipe = Recipe.load("progressive")
    space = SearchSpace.load("mobilenet_v3")
    elastic = [phase.space(space).stages[1] for phase in recipe.phases]
    assert [stage.kernel_sizes for stage in elastic[1:]] == [(3, 5, 7)] * 5
    assert [stage.depths for stage in elastic] == [(2, 3, 4), (4,), (3, 4), (2, 3, 4), (2, 3, 4), (2, 3, 4)]
    assert [stage.expand_ratios for stage in elastic[1:]] == [(6,)] * 3 + [(4, 6), (3, 4, 6)]
    assert [phase.epochs for phase in recipe.phases] == [180, 125, 25, 125, 25, 125]
    assert [phase.random_subnets for phase in recipe.phases] == [0, 1, 2, 2, 4, 4]
    assert [phase.teacher for phase in recipe.phases] == ["none"] + ["frozen"] * 5
    whole_batch = recipe.override(Settings(batch_size=2048))
    rates = [phase.learning_rate for phase in whole_batch.phases]
    assert rates == pytest.approx([2.6, 0.96, 0.08, 0.24, 0.08, 0.24])
    narrowed = recipe.phases[1].space(tiny)
    tiny.check(narrowed.smallest)  # a part of a space is in the space
    assert narrowed.smallest.stages[0] == (tiny.stages[0].choices[1],) * 2


GOOD = '[[phases]]\nname = "a"\nteacher = "largest"\nepochs = 1\nlearning_rate = 0.1\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"phases: is missing"),
        (GOOD + "epoch = 2\n", r"phases\[0\].epoch: is not known here; known keys: depths, epochs"),
        (GOOD.replace("largest", "nobody"), r"teacher: expected one of none, largest, frozen, got 'nobody'"),
        (GOOD.replace("largest", "frozen"), r"phases\[0\].teacher: frozen is the largest subnet after the"),
        (GOOD.replace("largest", "none") + "random_subnets = 2\n", r"random_subnets need a teacher"),
        (
            GOOD.replace("largest", "none") + "depths = 1\n",
            r"phase a: .* depths .* are of smaller subnets",
        ),
        (GOOD + GOOD.replace("largest", "frozen"), r"phase a: needs random_subnets of 1 or more"),
        (GOOD.replace("largest", "none") + "label_share = 0.5\n", r"phase a: label_share is of the sandwich"),
        (
            GOOD + "label_share = 1.5\n",
            r"phases\[0\].label_share: expected a number from 0.0 to 1.0, got 1.5",
        ),
        (GOOD + "sort_channels = true\n", r"phases\[0\].sort_channels: a start comes sorted, and random"),
        ("batch_size = 1\n" + GOOD, r"batch_size: expected an integer from 2"),
        ('divergence = "x"\n' + GOOD, r"divergence: expected one of cross_entropy, alpha"),
        ('flip = "vertical"\n' + GOOD, r"flip: expected one of horizontal, none, both, got 'vertical'"),
        ("brightness = 2\n" + GOOD, r"brightness: expected a number from 0.0 to 1.0, got 2"),
        ("saturation = -1\n" + GOOD, r"saturation: expected a number from 0.0 to 1.0, got -1"),
        ("balance = 1.5\n" + GOOD, r"balance: expected a number from 0.0 to 1.0, got 1.5"),
        ("[[phases", "not valid TOML"),
    ],
)
def test_a_wrong_recipe_is_refused_with_its_key(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message):
        Recipe.load(str(path))


def test_a_recipe_may_say_how_images_are_changed_and_drawn(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(GOOD)
    plain = Recipe.load(str(path))
    assert (plain.flip, plain.brightness, plain.saturation, plain.balance) == (
        "horizontal",
        32 / 255,
        0.5,
        0.0,
    )
    path.write_text('flip = "none"\nbrightness = 0\nsaturation = 0.1\nbalance = 0.5\n' + GOOD)
    expected = replace(plain, flip="none", brightness=0.0, saturation=0.1, balance=0.5)
    assert Recipe.load(str(path)) == expected


def test_an_unknown_recipe_names_what_ships() -> None:
    told = "recipe 'sandwhich': there are progressive, refine, sandwich, shrink, signals; or give the"
    with pytest.raises(RecipeError, match=told):
        Recipe.load("sandwhich")
    with pytest.raises(RecipeError, match=r"nowhere\.toml: cannot be read"):
        Recipe.load("nowhere.toml")
