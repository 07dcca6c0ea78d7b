"""A check reads alike wherever it is shown."""

import pytest

from ofa_nas.export.check import Check, describe_excess


@pytest.mark.parametrize(
    ("quantity", "unit", "measured", "predicted", "texts"),
    [
        ("numerics", "fraction", 1.2e-6, None, ("numerics", "1.2e-06", "")),
        ("agreement", "fraction", 0.981, None, ("agreement with torch", "98.1%", "")),
        ("accuracy_drop", "fraction", -0.003, None, ("top-1 lost", "-0.30 points", "")),
        ("accuracy", "fraction", 0.652, 0.66, ("top-1", "65.2%", "-0.8 points")),
        ("latency_p90", "ms", 30.0, 25.0, ("latency, p90", "30 ms", "+20.0%")),
        ("file_size", "bytes", 6.02e6, 6e6, ("file size", "6.02 MB", "+0.3%")),
        ("macs", "MACs", 41.5e6, None, ("MACs", "41.5 M", "")),
        ("energy", "fraction", 0.5, 0.0, ("energy", "50.0%", "")),
    ],
)
def test_a_check_has_title_text_and_deviation(
    quantity: str, unit: str, measured: float, predicted: float | None, texts: tuple[str, ...]
) -> None:
    check = Check(quantity, measured, predicted, unit, is_met=True, note="")
    assert (check.title, check.text(measured, share="{:.1%}".format), check.deviation) == texts


@pytest.mark.parametrize(
    ("quantities", "told"),
    [
        ([], ""),
        (["latency"], "latency is above its budget"),
        (["latency", "latency"], "latency is above its budget"),
        (["peak_memory", "file_size"], "peak memory and file size are above their budgets"),
        (["accuracy"], "top-1 is below what was asked"),
        (["accuracy", "latency"], "top-1 is below what was asked, and latency is above its budget"),
    ],
)
def test_what_misses_is_told_in_one_clause(quantities: list[str], told: str) -> None:
    kept = Check("numerics", 1.0, None, "fraction", is_met=True, note="")
    checks = [Check(one, 1.0, None, "", is_met=True, note="", exceeds_budget=True) for one in quantities]
    assert describe_excess([kept, *checks]) == told
