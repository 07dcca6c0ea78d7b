"""The main job on a really trained supernet: budgets hold, optima are found, claims are true."""

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ofa_nas.assets import asset_folder
from ofa_nas.errors import BudgetError, CheckpointError, ConfigError, SpaceError, TableError
from ofa_nas.latency.shelf import find_table
from ofa_nas.latency.table import LatencyTable
from ofa_nas.pipeline.searching.estimators import Candidate, Estimators, default_margin
from ofa_nas.pipeline.searching.search import SearchResult, search_supernet
from ofa_nas.pipeline.tables.device_table import device_table
from ofa_nas.search.budgets import Budget, parse_budget
from ofa_nas.space.costs import layer_macs
from ofa_nas.space.precision import peak_bytes, weight_bytes
from ofa_nas.space.search_space import SearchSpace
from tests.pipeline.enumerated import EVERY, budget_of, costs_of, keeps, limits_at
from tests.small_supernet import CONSTANT_MS, MS_PER_MAC, SmallSupernet, exact_table


def result_of(
    estimators: Estimators, budgets: Sequence[Budget], *, method: str | None = None, seed: int = 0
) -> SearchResult:
    *_, result = search_supernet(estimators, budgets, method=method, seed=seed)
    assert isinstance(result, SearchResult)
    return result


def test_candidates_cost_what_a_plain_walk_counts(exact: Estimators, tiny: SearchSpace) -> None:
    for candidate in exact.candidates(EVERY[::97]):
        layers = list(tiny.layers(candidate.architecture))
        macs = sum(map(layer_macs, layers))
        assert candidate.macs == macs
        assert candidate.peak_activation_bytes == max(map(peak_bytes, layers))
        assert candidate.weight_bytes == sum(map(weight_bytes, layers))
        assert candidate.latencies_ms == pytest.approx({"exact": CONSTANT_MS + MS_PER_MAC * macs}, abs=1e-3)
        assert candidate.figures().keys() == {"accuracy", "peak_activation_bytes", "weight_bytes", "macs"}


@pytest.mark.parametrize("method", [None, "evolution"])
@pytest.mark.parametrize(
    "shares",
    [
        {},
        {"latency": 0.4},
        {"macs": 0.1},
        {"peak_memory": 0.3},
        {"model_size": 0.5},
        {"latency": 0.5, "peak_memory": 0.4},
        {"latency": 0.6, "peak_memory": 0.5, "model_size": 0.4, "macs": 0.5},
    ],
)
def test_the_enumerated_optimum_is_found(
    shares: dict[str, float], method: str | None, exact: Estimators, candidates: list[Candidate]
) -> None:
    budgets = limits_at(candidates, **shares)
    result = result_of(exact, budgets, method=method)
    kept = [candidate for candidate in candidates if keeps(candidate, budgets)]
    assert keeps(result.chosen, budgets)
    assert result.chosen.accuracy == max(candidate.accuracy for candidate in kept)
    assert result.chosen in kept
    genes = exact.encoding.encode([result.chosen.architecture])
    assert result.chosen.half_width == exact.predictor.half_widths(genes)[0] > 0.0
    assert result.evaluations > 0
    assert result.method == (method or "exact")
    assert result.is_exact == (method is None)


@pytest.mark.parametrize("has_device", [True, False])
def test_the_front_is_sorted_and_no_architecture_dominates_it(
    has_device: bool, small: SmallSupernet, exact: Estimators, candidates: list[Candidate]
) -> None:
    estimators = exact if has_device else Estimators.load(small.name)
    first = "latency" if has_device else "macs"
    memory = limits_at(candidates, peak_memory=0.6)
    result = result_of(estimators, [*limits_at(candidates, **{first: 0.5}), *memory])
    costs = [costs_of(one)[first] for one in result.front]
    accuracies = [one.accuracy for one in result.front]
    assert len(result.front) > 3
    assert all(before < after for before, after in pairwise(costs))
    assert all(before < after for before, after in pairwise(accuracies))
    assert all(keeps(one, memory) for one in result.front)
    for other in candidates:
        if keeps(other, memory):
            assert any(
                one.accuracy >= other.accuracy and costs_of(one)[first] <= costs_of(other)[first]
                for one in result.front
            )
    assert result.chosen.architecture in [one.architecture for one in result.front]


def best_but_one(estimators: Estimators) -> Candidate:
    """The second most accurate of the whole front: as a limit, its cost forbids the best."""
    return result_of(estimators, []).front[-2]


def test_a_budget_above_the_largest_cost_does_not_bind(
    exact: Estimators, candidates: list[Candidate]
) -> None:
    second = best_but_one(exact)
    tight = budget_of("latency", costs_of(second)["latency"])
    loose = [
        budget_of(name, 1.001 * max(costs_of(one)[name] for one in candidates))
        for name in ("peak_memory", "model_size")
    ]
    assert result_of(exact, [tight]).binding == (True,)
    assert result_of(exact, [tight]).chosen == second
    assert result_of(exact, loose).binding == (False, False)
    assert result_of(exact, [loose[0], tight, loose[1]]).binding == (False, True, False)
    assert result_of(exact, []).binding == ()


def test_of_two_budgets_that_are_one_only_one_binds(exact: Estimators) -> None:
    macs = Budget("macs", best_but_one(exact).macs, "MACs")
    latency = budget_of("latency", CONSTANT_MS + MS_PER_MAC * macs.limit + 1e-3)
    assert sorted(result_of(exact, [macs, latency]).binding) == [False, True]


@pytest.mark.parametrize("name", ["latency", "peak_memory", "model_size", "macs"])
def test_an_infeasible_budget_names_the_smallest_reachable_value(
    name: str, exact: Estimators, candidates: list[Candidate]
) -> None:
    least = min(costs_of(candidate)[name] for candidate in candidates)
    with pytest.raises(BudgetError, match="cannot be met: the smallest that tiny reaches is") as caught:
        result_of(exact, [budget_of(name, 0.5 * least)])
    option = f"--{name.replace('_', '-')}"
    advised = str(caught.value).split(f"raise {option} to ")[1].split(" or more")[0].removesuffix(" MACs")
    limit = parse_budget(name, advised).limit
    assert least <= limit <= 1.01 * least
    assert keeps(result_of(exact, [budget_of(name, limit)]).chosen, [budget_of(name, limit)])


def test_bytes_that_only_int8_files_keep_are_told(exact: Estimators, tiny: SearchSpace) -> None:
    walks = [list(tiny.layers(arch)) for arch in exact.encoding.decode(EVERY)]
    least = min(sum(weight_bytes(layer, "int8") for layer in layers) for layers in walks)
    with pytest.raises(
        BudgetError, match=r"or more; int8 files \(--precision int8\) reach model size "
    ) as caught:
        result_of(exact, [budget_of("model_size", least)])
    told = parse_budget("model_size", str(caught.value).rpartition(" model size ")[2]).limit
    assert least <= told <= 1.01 * least
    with pytest.raises(BudgetError, match=r"or more$"):
        result_of(exact, [budget_of("model_size", least - 1)])


def test_a_latency_without_a_device_is_refused(small: SmallSupernet) -> None:
    estimators = Estimators.load(small.name)
    with pytest.raises(BudgetError, match="a latency budget needs a device: add --device host"):
        result_of(estimators, [Budget("latency", 1.0, "ms")])
    assert estimators.candidates(EVERY[:1])[0].latencies_ms == {}


@pytest.mark.parametrize("method", ["evolution", "random"])
def test_the_same_seed_gives_the_same_result(
    method: str, exact: Estimators, candidates: list[Candidate]
) -> None:
    budgets = limits_at(candidates, latency=0.4, peak_memory=0.5)
    results = [result_of(exact, budgets, method=method, seed=3) for _ in range(2)]
    first, second = (replace(result, cpu_seconds=0.0) for result in results)
    assert first == second


def test_an_unknown_method_is_refused(exact: Estimators) -> None:
    with pytest.raises(ConfigError, match="there is no 'annealing'; there are ageing, evolution, "):
        result_of(exact, [], method="annealing")


def test_the_estimated_table_of_the_raspberry_pi_serves_this_space(
    small: SmallSupernet, tiny: SearchSpace
) -> None:
    (table,) = device_table("rpi4", tiny)
    assert isinstance(table, LatencyTable)
    assert table.provenance == "estimated"
    estimators = Estimators.load(small.name, table)
    latencies = [one.latencies_ms["rpi4"] for one in estimators.candidates(EVERY)]
    limit = float(np.quantile(latencies, 0.3))
    chosen = result_of(estimators, [Budget("latency", limit, "ms", "rpi4")]).chosen
    assert min(latencies) <= chosen.latencies_ms["rpi4"] <= limit


def test_a_table_of_another_space_is_refused_by_name(tiny: SearchSpace, tmp_path: Path) -> None:
    path = tmp_path / "board.json"
    exact_table(tiny.with_classes(12)).save(path)
    with pytest.raises(
        TableError,
        match="latency table exact was measured for tiny with 12 classes; the supernet is of tiny with 10",
    ):
        list(device_table(str(path), tiny))
    exact_table(tiny).save(path)
    (table,) = device_table(str(path), tiny)
    assert isinstance(table, LatencyTable)
    assert table.provenance == "measured"


@pytest.mark.parametrize("size", [24, 32])
def test_a_table_of_some_resolutions_narrows_the_search(
    size: int, small: SmallSupernet, tiny: SearchSpace, candidates: list[Candidate]
) -> None:
    narrowed = Estimators.load(small.name, exact_table(replace(tiny, resolutions=(size,))))
    assert narrowed.encoding.space.resolutions == (size,)
    assert narrowed.left_out == tuple(other for other in tiny.resolutions if other != size)
    held = [candidate for candidate in candidates if candidate.architecture.resolution == size]
    found = narrowed.candidates(narrowed.encoding.encode([candidate.architecture for candidate in held]))
    assert found == held
    budgets = limits_at(held, latency=0.5)
    kept = [candidate for candidate in held if keeps(candidate, budgets)]
    assert result_of(narrowed, budgets).chosen.accuracy == max(candidate.accuracy for candidate in kept)


def test_a_narrowed_predictor_is_the_same_sum(small: SmallSupernet, tiny: SearchSpace) -> None:
    narrowed = Estimators.load(small.name, exact_table(replace(tiny, resolutions=(32,))))
    genes = narrowed.encoding.sample(50, np.random.default_rng(0))
    form = narrowed.predictor.additive(narrowed.encoding)
    assert form is not None
    assert form.link(form.worth.total(genes)) == pytest.approx(narrowed.predictor.predict(genes))


def test_a_table_without_any_resolution_of_the_space_is_refused(
    small: SmallSupernet, tiny: SearchSpace
) -> None:
    table = exact_table(tiny)
    assert table.measured
    elsewhere = replace(table, held=replace(table.measured, resolutions=(40, 48)))
    with pytest.raises(TableError, match=r"no resolution of tiny is in it; it holds .* at 40, 48 px"):
        Estimators.load(small.name, elsewhere)


def off_by(table: LatencyTable, share: float) -> LatencyTable:
    """The same table with another 95th percentile of its errors."""
    assert table.error
    return replace(table, error=replace(table.error, p95=share))


def test_a_search_keeps_the_error_of_the_table_as_margin(
    small: SmallSupernet, tiny: SearchSpace, exact: Estimators, candidates: list[Candidate]
) -> None:
    (budget,) = limits_at(candidates, latency=0.6)
    doubtful = Estimators.load(small.name, off_by(exact_table(tiny), 0.2))
    result = result_of(doubtful, [budget])
    assert result.budgets == (replace(budget, margin=0.2),)
    assert result.chosen == result_of(exact, [replace(budget, limit=0.8 * budget.limit)]).chosen
    for margin, expected in ((0.0, 1.0), (0.1, 0.9)):
        *_, other = search_supernet(doubtful, [budget], margin=margin)
        assert isinstance(other, SearchResult)
        same = result_of(exact, [replace(budget, limit=expected * budget.limit)])
        assert other.chosen == same.chosen


def test_a_budget_keeps_a_margin_of_its_own(small: SmallSupernet, tiny: SearchSpace) -> None:
    doubtful = Estimators.load(small.name, off_by(exact_table(tiny), 0.1))
    own = Budget("latency", 1e3, "ms", "exact", margin=0.3)
    assert result_of(doubtful, [own]).budgets == (own,)
    *_, other = search_supernet(doubtful, [own], margin=0.0)
    assert isinstance(other, SearchResult)
    assert other.budgets == (replace(own, margin=0.0),)


def test_only_a_latency_is_that_of_a_device(exact: Estimators) -> None:
    with pytest.raises(BudgetError, match="MACs on exact ≤ 1 M MACs: only a latency is that of a device"):
        result_of(exact, [Budget("macs", 1e6, "MACs", "exact")])


def test_where_nobody_knows_the_error_there_is_no_margin(tiny: SearchSpace) -> None:
    assert default_margin(replace(exact_table(tiny), error=None)) == 0.0


def test_a_margin_is_kept_of_latencies_only(small: SmallSupernet, tiny: SearchSpace) -> None:
    doubtful = Estimators.load(small.name, off_by(exact_table(tiny), 0.2))
    largest = result_of(doubtful, []).chosen
    budget = Budget("macs", largest.macs, "MACs")
    assert result_of(doubtful, [budget]).budgets == (budget,)
    assert result_of(doubtful, [budget]).chosen == largest


def test_a_table_that_is_off_by_everything_leaves_no_budget(small: SmallSupernet, tiny: SearchSpace) -> None:
    hopeless = Estimators.load(small.name, off_by(exact_table(tiny), 1.2))
    with pytest.raises(BudgetError, match=r"a margin of 120 % leaves nothing of a latency on exact budget"):
        result_of(hopeless, [budget_of("latency", 5.0)])


def test_a_table_measured_with_other_threads_is_refused(tiny: SearchSpace, tmp_path: Path) -> None:
    exact_table(tiny).save(tmp_path / "board.json")
    with pytest.raises(TableError, match="measured with 1 thread, not 4; search with --threads 1"):
        list(device_table(str(tmp_path / "board.json"), tiny, threads=4))


def test_an_imported_table_of_another_space_is_refused_by_name(tiny: SearchSpace) -> None:
    with pytest.raises(
        TableError,
        match=r"table note10 was imported for mobilenet_v3_w1\.2 with 1000 classes; the supernet is of "
        r"tiny with 10: give a table of that space",
    ):
        list(device_table("note10", tiny))
    (table,) = device_table("note10", SearchSpace.load("mobilenet_v3_w1.2"))
    assert isinstance(table, LatencyTable)


def test_any_table_of_other_threads_or_another_precision_is_refused(
    tiny: SearchSpace, tmp_path: Path
) -> None:
    (table,) = device_table("rpi4", tiny)
    assert isinstance(table, LatencyTable)
    path = tmp_path / "board.json"
    replace(table, device=replace(table.device, threads=4)).save(path)
    with pytest.raises(TableError, match="rpi4 was estimated with 4 threads, not 1; search with --threads 4"):
        list(device_table(str(path), tiny))
    assert list(device_table(str(path), tiny, threads=4))
    replace(table, device=replace(table.device, precision="int8")).save(path)
    with pytest.raises(TableError, match="rpi4 is of int8 networks, and the file will be fp32"):
        list(device_table(str(path), tiny))


def test_a_table_of_another_precision_does_not_estimate(small: SmallSupernet, tiny: SearchSpace) -> None:
    with pytest.raises(TableError, match="latency table exact is of fp32 networks; expected one of int8"):
        Estimators.load(small.name, exact_table(tiny), precision="int8")
    with pytest.raises(ConfigError, match="precision 'fp8': expected fp32 or int8"):
        Estimators.load(small.name, precision="fp8")


def test_paths_are_taken_wherever_names_are(small: SmallSupernet, tmp_path: Path) -> None:
    folder = asset_folder("latency_tables")
    path, table = find_table(folder / "rpi4.json")
    assert (path, table.name) == (folder / "rpi4.json", "rpi4")
    table.save(str(tmp_path / "own.json"))
    assert LatencyTable.load(str(tmp_path / "own.json")) == table
    assert Estimators.load(small.files.weights).files == small.files
    space = asset_folder("search_spaces") / "tiny.toml"
    assert SearchSpace.load(space) == SearchSpace.load("tiny")
    with pytest.raises(SpaceError, match="no such search space"):
        SearchSpace.load(Path("tiny"))


def test_a_roofline_is_no_table(tiny: SearchSpace) -> None:
    with pytest.raises(TableError, match=r"rpi5 is a roofline of .*: it ranks and promises no milliseconds"):
        list(device_table("rpi5", tiny))


def test_devices_are_known_by_name(tiny: SearchSpace) -> None:
    with pytest.raises(TableError, match=r"no such latency table; shipped: .*rpi4"):
        list(device_table("toaster", tiny))


def test_a_supernet_without_a_predictor_tells_how_to_make_one(small: SmallSupernet, tmp_path: Path) -> None:
    files = small.copy_to(tmp_path / "run")
    files.predictor.unlink()
    with pytest.raises(CheckpointError, match="has no accuracy predictor; make one with ofa-nas predictor"):
        Estimators.load(str(files.weights))


def test_a_search_does_without_torch(small: SmallSupernet) -> None:
    code = (
        "import sys\n"
        "from ofa_nas.cli import main\n"
        "status = main(sys.argv[1:])\n"
        "sys.exit(f'torch was imported' if 'torch' in sys.modules else status)\n"
    )
    arguments = ["search", "--supernet", small.name, "--device", "rpi4", "--latency", "1s", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_threads_may_share_estimators(exact: Estimators, candidates: list[Candidate]) -> None:
    limits = [limits_at(candidates, latency=share) for share in (0.2, 0.5, 0.8)] * 4

    def chosen(budgets: Sequence[Budget]) -> Candidate:
        return result_of(exact, budgets).chosen

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(chosen, limits)) == list(map(chosen, limits))
