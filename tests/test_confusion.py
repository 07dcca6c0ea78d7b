"""Figures of classes: shares of counts, and nothing where there is nothing to count."""

import numpy as np
import pytest

from ofa_nas.confusion import Confusion

LABELS = np.array([0, 0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 0, 1, 2, 1, 2, 2])
FOUND = Confusion.of(LABELS, PREDICTED, ("bolt", "nut", "screw", "washer"))


def test_rows_are_classes_and_columns_predictions() -> None:
    assert FOUND.counts.tolist() == [[2, 1, 1, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert FOUND.images.tolist() == [4, 2, 1, 0]
    assert (FOUND.top_1.correct, FOUND.top_1.images) == (4, 7)


def test_recall_and_precision_are_shares_of_rows_and_columns() -> None:
    assert FOUND.recall == pytest.approx([0.5, 0.5, 1.0, np.nan], nan_ok=True)
    assert FOUND.precision == pytest.approx([1.0, 0.5, 1 / 3, np.nan], nan_ok=True)


def test_every_class_with_images_weighs_the_same_in_balanced_accuracy() -> None:
    assert FOUND.balanced_accuracy == pytest.approx(2 / 3)
    assert not FOUND.is_balanced
    assert Confusion.of(np.array([0, 2]), np.array([0, 1]), ("a", "b", "c")).is_balanced


def test_what_a_class_is_mistaken_for_comes_most_frequent_first() -> None:
    found = Confusion.of(np.zeros(6, np.int64), np.array([2, 1, 2, 0, 3, 2]), ("a", "b", "c", "d"))
    assert found.mistaken_for(0) == [("c", 3), ("b", 1), ("d", 1)]
    assert found.mistaken_for(1) == []
