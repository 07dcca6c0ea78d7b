"""What stands on the page, before any script runs: figures, tables, drawings, and nothing that is fetched."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from ofa_nas.report.page import report_page
from tests.report.conftest import HOSTILE, Found, Write

MOST_BYTES = 6_000_000


class Elements(HTMLParser):
    """Elements, their attributes, and the text that a reader sees."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.hidden = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.hidden += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self.hidden -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def elements(found: Found) -> Elements:
    page = report_page(found.document)
    assert len(page.encode()) < MOST_BYTES
    return Elements(page)


def test_the_figures_stand_there_without_a_script(found: dict[str, Found]) -> None:
    content, read = found["one"].content, elements(found["one"])
    predicted = content["predicted"]
    for text in (
        content["architecture"],
        f"{100 * predicted['accuracy']:.1f} %",
        f"{predicted['latency_ms']['rpi4']:.1f} ms",
        "predicted (table estimated), of 30 ms, 10.4 % kept free; not measured",
        "by exact: all subnets in ",
        "No subnet within the budgets is predicted to be better.",
        "Nothing of this search was measured",
        "ofa-nas search --device rpi4 --latency 30ms --peak-memory 1.2MB",
        "Latency table rpi4: estimated",
        "off by 3.8% on average, 2.8% at the median, 10.4% at the 95th percentile",
        content["made_by"]["libraries"]["onnxruntime"],
    ):
        assert text in read.text, text
    for candidate in (content["front"][0], content["front"][-1]):
        assert candidate["architecture"] in read.text
    assert read.tags.count("svg") >= 3 + len(content["network"]["layers"])


def test_the_peak_is_named_with_what_is_alive_there(found: dict[str, Found]) -> None:
    content, text = found["one"].content, elements(found["one"]).text
    layers = content["network"]["layers"]
    moments = [
        (sum(one["tensors"].values()), layer["name"], one["name"])
        for layer in layers
        for one in layer["operators"]
    ]
    size, layer, operator = max(moments, key=lambda moment: moment[0])
    assert size == content["predicted"]["peak_activation_bytes"]
    assert re.search(rf"The peak of 1.05 MB is in {layer}, .* while its {operator} runs: alive are", text)


@pytest.mark.parametrize("name", ["one", "int8"])
def test_layers_need_what_the_network_needs(name: str, found: dict[str, Found]) -> None:
    content = found[name].content
    layers, predicted = content["network"]["layers"], content["predicted"]
    moments = [sum(one["tensors"].values()) for layer in layers for one in layer["operators"]]
    assert max(moments) == predicted["peak_activation_bytes"]
    assert sum(layer["weight_bytes"] for layer in layers) == predicted["weight_bytes"]
    assert sum(layer["macs"] for layer in layers) == predicted["macs"]
    assert f"precision {content['precision']}" in elements(found[name]).text


def test_times_of_the_layers_add_up_to_the_latency(found: dict[str, Found]) -> None:
    for name in ("one", "two"):
        content = found[name].content
        network = content["network"]
        for device, whole in content["predicted"]["latency_ms"].items():
            parts = [layer["latency_ms"][device] for layer in network["layers"]]
            assert network["constant_ms"][device] + sum(parts) == pytest.approx(whole)


def test_a_network_may_take_less_than_the_sum_of_its_layers(found: dict[str, Found], write: Write) -> None:
    content = found["one"].content
    (device,) = content["network"]["constant_ms"]
    content["network"]["constant_ms"][device] = -0.25
    text = elements(write(content)).text
    assert "The network takes 0.25 ms less than the sum of its layers." in text
    assert "beside the layers" not in text


def test_each_kind_of_search_has_a_page(found: dict[str, Found]) -> None:
    two = elements(found["two"]).text
    assert f"efficientnet_lite on rpi4 and {HOSTILE}" in two
    assert f"Time of each layer on {HOSTILE}" in two
    several = elements(found["list"]).text
    for answer in found["list"].content["answers"][1:]:
        assert answer["architecture"] in several
    assert "cannot be met" in several
    assert f"Unmet: {found['list'].content['answers'][0]['unmet']}" in several
    none = elements(found["none"]).text
    assert "No device was named, so there are no times." in none
    assert "latency on" not in none
    goal = elements(found["goal"]).text
    assert "to reach: 65.0 %" in goal
    assert "No subnet within the budgets costs less and is predicted to reach that accuracy." in goal


def choose(content: dict[str, Any], one: dict[str, Any]) -> None:
    """Have another network of the front chosen than the one that was searched out."""
    content["architecture"], content["predicted"] = one["architecture"], one["predicted"]


def test_nothing_is_called_the_best_that_measuring_has_chosen(found: dict[str, Found], write: Write) -> None:
    content = found["one"].content
    other = next(one for one in content["front"] if one["predicted"]["accuracy"] < content["accuracy_bound"])
    choose(content, other)
    content["study"] = {
        "storage": "study.log",
        "name": "own",
        "images": "some",
        "held_out": {"accuracy": 0.5, "half_width": 0.02, "images": 100},
        "trials": [
            other
            | {"measured": {"accuracy": 0.7, "accuracy_half_width": 0.1, "latency_ms": {}}, "is_within": True}
        ],
    }
    text = elements(write(content)).text
    gap = 100 * (content["accuracy_bound"] - other["predicted"]["accuracy"])
    assert (
        f"It was chosen by measurement. None within the budgets is predicted to be more than {gap:.2g}"
        in text
    )
    assert "No subnet within" not in text
    assert "top-1, measured 70.0 % ± 10.0 points at 90 %; on the images that chose it" in text
    assert "top-1, held out 50.0 % ± 2.0 points at 90 %, 100 images that did not choose it" in text
    goal = found["goal"].content
    least = goal["predicted"]["latency_ms"]["rpi4"]
    choose(goal, next(one for one in goal["front"] if one["predicted"]["latency_ms"]["rpi4"] > least))
    text = elements(write(goal)).text
    told = f"The least latency on rpi4 that is predicted to reach that accuracy is {least:.1f} ms."
    assert f"It was chosen by measurement. {told}" in text


@pytest.mark.slow
def test_a_supernet_without_weights_has_a_page(imagenet: Found) -> None:
    text = elements(imagenet).text
    assert "did not come with the supernet" in text
    assert "Latency table note10: imported" in text
    assert "nobody here can tell how far off it is" in text
    assert "How far it is from the best within the budgets" in text
    low, high = (100 * end(imagenet.content["by_seed"]) for end in (min, max))
    assert f"the best of 2 seeds, whose answers have {low:.2f} to {high:.2f} %" in text


@pytest.mark.slow
def test_checks_of_the_file_stand_beside_what_was_predicted(exported: Found) -> None:
    text = elements(exported).text
    checks = {check["quantity"]: check for check in exported.content["checks"]}
    for quantity in ("accuracy", "peak_memory", "file_size"):
        assert checks[quantity]["note"] in text
    assert f"{100 * checks['accuracy']['measured']:.1f} %" in text
    assert "as measured on the file" in text
    assert "Nothing of this search was measured" not in text


def test_checks_have_the_words_of_the_command_line(found: dict[str, Found], write: Write) -> None:
    checks = [
        {"quantity": quantity, "measured": value, "unit": "fraction", "is_met": True}
        for quantity, value in (("agreement", 0.981), ("accuracy_drop", -0.003))
    ]
    text = elements(write(found["int8"].content | {"checks": checks})).text
    assert "agreement with torch 98.1 % kept" in text
    assert "top-1 lost -0.30 points kept" in text


def test_a_broken_promise_is_told_at_the_top(found: dict[str, Found], write: Write) -> None:
    content = found["one"].content
    peak = {
        "quantity": "peak_memory",
        "measured": 1.64e6,
        "predicted": 1.84e6,
        "unit": "bytes",
        "is_met": False,
    }
    resident = {"quantity": "resident_memory", "measured": 5e7, "unit": "bytes", "is_met": True}
    text = elements(write(content | {"checks": [peak, resident]})).text
    assert "The exported file breaks what was promised of it: peak memory." in text
    told = "predicted, of 1.2 MB; binds; 1.05 MB when it was searched; measured 1.64 MB; a broken promise"
    assert f"peak memory 1.84 MB {told}" in text
    assert "resident memory 50 MB –" in text
    assert "Latency on rpi4 was not measured: it is predicted by a table that is estimated." in text
    text = elements(write(content | {"checks": [peak | {"is_met": True, "exceeds_budget": True}]})).text
    assert "keeps every promise that was checked, but as measured peak memory is above its budget." in text
    assert "1.64 MB -10.9% kept; above its budget" in text


def test_an_accuracy_below_what_was_asked_is_told(found: dict[str, Found], write: Write) -> None:
    top_1 = {"quantity": "accuracy", "measured": 0.53, "predicted": 0.548, "unit": "fraction"}
    kept = {**top_1, "is_met": True, "exceeds_budget": True}
    text = elements(write(found["one"].content | {"checks": [kept]})).text
    assert "keeps every promise that was checked, but as measured top-1 is below what was asked." in text
    assert "top-1 54.8 % 53.0 % -1.8 points kept; below what was asked" in text
    text = elements(write(found["one"].content | {"checks": [{**kept, "is_met": False}]})).text
    assert "The exported file breaks what was promised of it: top-1." in text


@pytest.mark.slow
def test_what_was_measured_stands_beside_what_was_predicted(measured: Found) -> None:
    content, text = measured.content, elements(measured).text
    assert f"Finalists, timed on {content['finalists']['address']}" in text
    assert f"evaluated on 40 images of {content['contest']['split']}" in text
    held_out = content["contest"]["held_out"]
    assert f"the chosen one reaches {held_out['accuracy']:.1%} ±" in text
    assert "unseen networks" in text
    assert "Nothing of this search was measured" not in text


@pytest.mark.slow
def test_each_round_of_finals_has_its_speed(measured: Found, write: Write) -> None:
    content = measured.content
    finals = content["finalists"]
    finals["networks"] = [one | {"round": number} for number in (1, 2) for one in finals["networks"][:1]]
    finals |= {"slowdown": 1.0, "slowdowns": [2.0, 1.0], "stale": ["in round 1 it was slow"]}
    text = elements(write(content)).text
    assert "as fast as it was in each round, for the table" in text
    assert "the device now takes 2.00, 1.00 times as long; in 2 rounds" in text
    del finals["slowdowns"]  # of an older version
    assert "the device now takes 1.00 times as long" in elements(write(content)).text


def test_nothing_from_a_file_is_read_as_html(hostile: Found) -> None:
    read = elements(hostile)
    assert HOSTILE in read.text
    assert "img" not in read.tags
    assert read.tags.count("script") == 2 + read.tags.count("figure")
    assert not [one for one in read.attributes if one[1].startswith("on")]


def test_nothing_is_fetched(found: dict[str, Found]) -> None:
    read = elements(found["one"])
    sources = [one for one in read.attributes if one[1] in ("src", "srcset", "action", "data", "poster")]
    links = {value for _, name, value in read.attributes if name == "href"}
    assert sources == []
    assert all(link.startswith("#") for link in links)
    assert {link[1:] for link in links} <= {value for _, name, value in read.attributes if name == "id"}
    policy = next(value for tag, name, value in read.attributes if tag == "meta" and "default-src" in value)
    assert policy.startswith("default-src 'none'; img-src data: blob:;")
    assert "unsafe-eval" not in policy
    assert "script-src 'sha256-" in policy


def test_the_page_can_be_heard(found: dict[str, Found]) -> None:
    read = elements(found["one"])
    assert ("html", "lang", "en") in read.attributes
    assert read.tags.count("h1") == 1
    assert read.tags.count("caption") == read.tags.count("table")
    named = [value for tag, name, value in read.attributes if tag == "section" and name == "aria-labelledby"]
    assert set(named) <= {value for tag, name, value in read.attributes if tag == "h2" and name == "id"}
    assert len(named) == read.tags.count("section") == 6


def test_a_long_front_is_thinned_to_fit(found: dict[str, Found]) -> None:
    content = found["one"].content
    read = elements(found["one"])
    count = len(content["front"])
    assert count > 600
    assert re.search(rf"The front as a table: 60\d of {count} networks", read.text)
    assert read.text.count(content["architecture"]) == 2  # above, and in the table


@pytest.mark.parametrize("key", ["network", "tables", "made_by", "checks", "weights"])
def test_a_document_of_before_is_told_of_all_the_same(
    key: str, found: dict[str, Found], write: Callable[[dict[str, object]], Found]
) -> None:
    content = found["one"].content
    del content[key]
    assert content["architecture"] in elements(write(content)).text


def test_a_long_study_fits_too(found: dict[str, Found], write: Callable[[dict[str, object]], Found]) -> None:
    content = found["one"].content
    content["study"] = {
        "storage": "study.log",
        "name": "long",
        "images": "some",
        "held_out": {"accuracy": 0.5, "half_width": 0.02, "images": 100},
        "trials": [
            one
            | {"measured": {"accuracy": 0.5, "accuracy_half_width": 0.1, "latency_ms": {}}, "is_within": True}
            for _ in range(4)
            for one in content["front"]
        ],
    }
    text = elements(write(content)).text
    assert re.search(rf"30\d of {4 * len(content['front'])} are shown", text)
    assert "the chosen one reaches 50.0% ± 2.0 points at 90 % on 100 images" in text


def test_sizes_of_signals_are_counted_in_samples(found: dict[str, Found], write: Write) -> None:
    content = found["none"].content
    size, sizes = content["network"]["resolution"], ", ".join(map(str, content["search"]["resolutions"]))
    text = elements(found["none"]).text
    assert f"{size} x {size} px in, " in text
    assert f"{sizes} px" in text
    for layer in content["network"]["layers"][:-1]:
        layer["axes"] = 1
    text = elements(write(content)).text
    assert f"{size} samples in, " in text
    assert f"{sizes} samples" in text
    assert f"{size} px" not in text
