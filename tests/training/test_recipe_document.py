"""What cards and checkpoints tell of a recipe."""

from dataclasses import asdict, replace

from ofa_nas.training.recipe import Recipe
from ofa_nas.training.recipe_document import recipe_document, with_later_keys

PLAIN = Recipe.load("sandwich")
FIRST = (
    "name phases batch_size divergence momentum weight_decay label_smoothing clip_norm crop_scale "
    "branch_scale seed"
)


def test_a_recipe_that_says_nothing_of_later_keys_is_told_as_it_always_was() -> None:
    assert list(recipe_document(PLAIN)) == FIRST.split()
    assert with_later_keys(recipe_document(PLAIN)) == asdict(PLAIN)


def test_what_a_recipe_says_of_later_keys_is_told() -> None:
    own = replace(PLAIN, flip="none", brightness=0.0, saturation=0.25, balance=0.5)
    assert recipe_document(own) == asdict(own)
    assert with_later_keys(recipe_document(own)) == asdict(own)


def test_what_is_no_document_stays_what_it_is() -> None:
    assert with_later_keys(None) is None
