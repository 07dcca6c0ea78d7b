"""Comparing: the same images, the same session, and no ratio where one would mislead."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import ofa_nas.pipeline.delivery.compare
from ofa_nas.activity import Activity
from ofa_nas.data import Normalization
from ofa_nas.devices import AnyModel, DeviceInfo, MeasuringProtocol, Profile, Visit
from ofa_nas.devices.host import Host
from ofa_nas.errors import DeviceError
from ofa_nas.export.card import ModelCard, read_model
from ofa_nas.export.foreign import model_precision
from ofa_nas.export.interface import FileForm
from ofa_nas.pipeline.delivery.compare import (
    Comparison,
    ComparisonPlan,
    compare,
)
from ofa_nas.pipeline.delivery.contenders import accuracy_difference, latency_ratio
from ofa_nas.pipeline.delivery.deliver import deliver, save_model
from ofa_nas.pipeline.delivery.file_verification import Delivery
from ofa_nas.pipeline.evaluating.judging import evaluate
from ofa_nas.pipeline.searching.promise import Promise
from ofa_nas.precisions import FP16
from ofa_nas.quantization import quantize
from ofa_nas.space.search_space import SearchSpace
from tests.small_supernet import SmallSupernet

FAST = MeasuringProtocol(
    rounds=3, max_rounds=3, passes=1, visit_runs=2, visit_ms=0.0, warm_up_windows=1, retries=0
)


@pytest.fixture(scope="module")
def exported(small: SmallSupernet, tiny: SearchSpace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "subnet.onnx"
    *_, last = deliver(small.files, tiny.middle, Promise(figures={}), output=path)
    assert isinstance(last, Delivery)
    return path


@pytest.fixture
def run(small: SmallSupernet, exported: Path) -> Callable[..., Comparison]:
    def run(*baselines: object, normalization: Normalization | None = None, images: int = 40) -> Comparison:
        plan = ComparisonPlan(
            exported, tuple(map(str, baselines)), small.name, images=images, normalization=normalization
        )
        *_, last = compare(plan, protocol=FAST)
        assert isinstance(last, Comparison)
        return last

    return run


def rewritten(exported: Path, path: Path, **metadata: object) -> Path:
    """The same file with other metadata."""
    model = read_model(exported)
    for item in model.metadata_props:
        if (key := item.key.removeprefix("ofa_nas.")) in metadata:
            value = metadata[key]
            item.value = value if isinstance(value, str) else json.dumps(value)
    save_model(path, model)
    return path


def foreign(exported: Path, path: Path) -> Path:
    """The same network as somebody else would write it: no metadata, other names, an open batch."""
    model = read_model(exported)
    del model.metadata_props[:]
    model.graph.node[0].input[0] = model.graph.input[0].name = "pixels"
    model.graph.node[-1].output[0] = model.graph.output[0].name = "scores"
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    save_model(path, model)
    return path


def visit(*wall_ms: float) -> Visit:
    return Visit("", wall_ms, wall_ms, spoilt=False, throttled=False)


def test_accuracies_are_those_of_evaluate_and_differences_are_theirs(
    run: Callable[..., Comparison], small: SmallSupernet
) -> None:
    found = run("smallest", "largest")
    names = ["middle", "smallest", "largest"]
    expected = [one.top_1 for one in evaluate(small.name, names, data=None, images=40, seed=0)]
    assert [one.top_1 for one in found.networks] == expected
    differences = [one.difference.value for one in found.comparisons if one.difference]
    assert differences == pytest.approx([expected[0].accuracy - one.accuracy for one in expected[1:]])
    assert [one.kind for one in found.networks] == ["file", "architecture", "architecture"]


def test_a_file_does_not_differ_from_its_own_architecture(
    run: Callable[..., Comparison], tiny: SearchSpace
) -> None:
    (versus,) = run(tiny.middle).comparisons
    assert versus.difference
    assert versus.difference.value == 0.0 < versus.difference.standard_error


class Choosy(Host):
    """A provider that takes no network of somebody else's; what it takes is profiled as without."""

    def info(self) -> DeviceInfo:
        found = super().info()
        return replace(found, environment={**found.environment, "provider": "choosy"})

    def time(self, models: Sequence[AnyModel], protocol: MeasuringProtocol) -> Iterator[Visit]:
        raise NotImplementedError

    def profile(self, models: Sequence[AnyModel], protocol: MeasuringProtocol) -> Iterator[Profile]:
        for model in models:
            if "foreign" in model.name:
                raise DeviceError(f"choosy takes no operator of model {model.name}")
            yield from super().profile([model], protocol)


def test_a_file_of_which_a_provider_takes_nothing_is_refused_before_anything_is_classified(
    small: SmallSupernet, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ofa_nas.pipeline.delivery.compare, "open_device", lambda _: Choosy())
    path = foreign(exported, tmp_path / "foreign.onnx")
    plan = ComparisonPlan(exported, ("smallest", str(path)), small.name, address="host+choosy")
    done: list[Activity | Comparison] = []
    with pytest.raises(DeviceError, match=r"choosy takes no operator of model 2 .*foreign\.onnx"):
        done.extend(compare(plan, protocol=FAST))
    assert not [one for one in done if isinstance(one, Activity) and one.name.startswith("classifying")]


def test_every_network_is_visited_in_every_round_before_the_next(
    run: Callable[..., Comparison], monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    time = Host.time

    def recorded(self: Host, models: Sequence[AnyModel], protocol: MeasuringProtocol) -> Iterator[Visit]:
        for one in time(self, models, protocol):
            order.append(one.model)
            yield one

    monkeypatch.setattr(Host, "time", recorded)
    run("smallest", "largest")
    rounds = [order[start : start + 3] for start in range(0, len(order), 3)]
    assert len(rounds) == FAST.rounds
    assert all(len(set(names)) == 3 for names in rounds)


def test_a_ratio_is_taken_within_rounds_so_a_machine_that_slows_down_does_not_show() -> None:
    slow = (1.0, 3.0, 1.0, 2.5, 1.0, 4.0)
    own = [visit(2.0 * factor, 2.2 * factor, 9.0 * factor) for factor in slow]
    other = [visit(*(4.4 * factor,) * 3) for factor in slow]
    found = latency_ratio(own, other)
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0, 2.0))


def test_the_standard_error_is_that_of_paired_outcomes() -> None:
    rng = np.random.default_rng(0)
    ours = rng.random(20_000) < 0.7
    theirs = np.where(rng.random(20_000) < 0.9, ours, ~ours)
    found = accuracy_difference(ours, theirs)
    differences = ours.astype(float) - theirs
    assert found.value == pytest.approx(differences.mean())
    assert found.standard_error == pytest.approx(differences.std() / 20_000**0.5, rel=1e-3)


def test_a_named_point_is_an_architecture_with_its_note(small: SmallSupernet, tmp_path: Path) -> None:
    files = small.copy_to(tmp_path / "own")
    document = json.loads(files.card.read_text())
    arch = "24/3x2/3x2.5x3"
    document["space"]["points"] = {"pocket_net": {"architecture": arch, "note": "without pockets"}}
    files.card.write_text(json.dumps(document))
    path = tmp_path / "subnet.onnx"
    *_, last = deliver(files, SearchSpace.load("tiny").smallest, Promise(figures={}), output=path)
    assert isinstance(last, Delivery)
    plan = ComparisonPlan(path, ("pocket_net",), str(files.weights), images=20)
    *_, found = compare(plan, protocol=FAST)
    assert isinstance(found, Comparison)
    point = found.networks[1]
    assert (str(point.architecture), point.note, point.name) == (arch, "without pockets", "pocket_net")
    assert found.comparisons[0].ratio


def test_a_file_of_the_same_data_has_a_ratio_one_of_other_data_has_none(
    run: Callable[..., Comparison], exported: Path, tmp_path: Path
) -> None:
    same = rewritten(exported, tmp_path / "same.onnx")
    other = rewritten(exported, tmp_path / "other.onnx", data="photos")
    renamed = rewritten(
        exported, tmp_path / "renamed.onnx", class_names=[f"animal_{number}" for number in range(10)]
    )
    found = run(same, other, renamed)
    assert [one.kind for one in found.networks[1:]] == ["exported"] * 3
    assert [one.top_1 is None for one in found.networks] == [False, False, False, True]
    first, second, third = found.comparisons
    assert first.ratio
    assert first.difference
    assert first.refusal == ""
    assert (second.ratio, second.difference, third.ratio, third.difference) == (None,) * 4
    data = ModelCard.from_model(read_model(exported), exported).data
    assert second.refusal == f"it was not given the same data: it was trained on photos, the file on {data}"
    assert third.refusal == "its accuracy is unknown: its 10 classes are not the 10 of the file"


def test_a_foreign_file_is_classified_with_the_normalisation_that_the_user_tells(
    run: Callable[..., Comparison], exported: Path, tmp_path: Path
) -> None:
    path = foreign(exported, tmp_path / "foreign.onnx")
    right = ModelCard.from_model(read_model(exported), exported).normalization
    found = run(path, normalization=right)
    ours, theirs = found.networks
    assert (theirs.kind, theirs.architecture, theirs.macs) == ("foreign", None, None)
    assert theirs.note == "its classes are taken to be in the order of the file's"
    assert theirs.top_1 == ours.top_1
    assert found.comparisons[0].ratio
    wrong = run(path, normalization=replace(right, std=(1e6, 1e6, 1e6)))
    assert wrong.networks[1].top_1 != ours.top_1


def test_a_foreign_file_has_no_ratio_without_normalisation_or_with_other_classes(
    run: Callable[..., Comparison], exported: Path, tmp_path: Path
) -> None:
    path = foreign(exported, tmp_path / "foreign.onnx")
    wider = read_model(path)
    weight, bias = (wider.graph.node[-1].input[index] for index in (1, 2))
    for tensor in wider.graph.initializer:
        if tensor.name in (weight, bias):
            grown = np.repeat(onnx.numpy_helper.to_array(tensor), 2, axis=0)
            tensor.CopyFrom(onnx.numpy_helper.from_array(grown, tensor.name))
    wider.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 20
    save_model(tmp_path / "wider.onnx", wider)
    first, second = run(path, tmp_path / "wider.onnx").comparisons
    assert first.refusal.endswith("nobody told its normalisation: give --input-mean and --input-std")
    assert second.refusal.endswith("it has 20 classes, the held-out images have 10")
    assert (first.ratio, first.difference, second.ratio, second.difference) == (None,) * 4


def test_the_precision_is_that_of_the_file(exported: Path) -> None:
    model = read_model(exported)
    image = np.random.default_rng(0).standard_normal((1, 3, 24, 24)).astype(np.float32)
    assert model_precision(quantize(model, image)) == "int8"
    assert model_precision(model) == "fp32"
    for tensor in model.graph.initializer:
        half = onnx.numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(onnx.numpy_helper.from_array(half, tensor.name))
    assert model_precision(model) == "fp16"


def test_an_architecture_is_given_the_form_of_the_file(
    small: SmallSupernet, tiny: SearchSpace, exported: Path, tmp_path: Path
) -> None:
    path = tmp_path / "half.onnx"
    form = FileForm(FP16, batch=2)
    *_, last = deliver(small.files, tiny.smallest, Promise(figures={}), output=path, form=form)
    assert isinstance(last, Delivery)
    plan = ComparisonPlan(path, ("middle", str(exported)), small.name, images=20)
    *_, found = compare(plan, protocol=FAST)
    assert isinstance(found, Comparison)
    assert [one.precision for one in found.networks] == ["fp16", "fp16", "fp32"]
    first, second = found.comparisons
    assert first.ratio
    assert (second.ratio, second.refusal) == (None, "it takes 1 images at once, the file 2")
