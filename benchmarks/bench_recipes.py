"""Which training recipe is best at an equal budget, and how far are subnets from the same networks alone?

Every recipe trains a supernet on the same images for the same epochs. Smallest, largest and random subnets
are then taken as they are, with batch norms calibrated. Of the random ones, three are chosen on the front of
accuracy on held-out training images against MACs. These three, the smallest and the largest are compared with
their twins. A twin is the same network with weights of its own, trained on labels alone at one resolution,
with the first recipe's images, epochs, optimiser and crops. Test images choose nothing. A choice among
subnets favours the supernet that it was made on, which is that of the first recipe and seed.

    python -m benchmarks.bench_recipes --data cifar10 --results runs/recipes.jsonl
"""

import argparse
import json
import math
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.recipe_trainings import (
    CHANGES,
    Job,
    Outcome,
    Results,
    Splits,
    Values,
    alone_recipe,
    alone_space,
    load_recipe,
    prepare_worker,
    run_job,
)
from ofa_nas.provenance import record_provenance
from ofa_nas.search.pareto import non_dominated
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.costs import network_macs
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.training.recipe import Recipe

RECIPES = ("sandwich", "progressive", "sandwich:divergence=alpha")
RANDOM_SUBNETS = 30  # among which the front is looked for
FRONT = 3  # members of it that get a twin
GOAL_POINTS = 1.0  # a subnet may be so much less accurate than its twin


def draw_candidates(space: SearchSpace, seed: int) -> tuple[Architecture, ...]:
    """Smallest, largest, and random architectures, all different."""
    encoding = Encoding.of(space)
    random = encoding.decode(encoding.sample(4 * RANDOM_SUBNETS, np.random.default_rng(seed)))
    return tuple(dict.fromkeys((space.smallest, space.largest, *random)))[: 2 + RANDOM_SUBNETS]


def choose_front(space: SearchSpace, archs: Sequence[Architecture], errors: Values) -> list[Architecture]:
    """Members of the front of errors `(n,)` against MACs that lie nearest to even steps of log MACs."""
    macs = np.log([network_macs(space, arch) for arch in archs])
    order = np.flatnonzero(non_dominated(np.stack([errors, macs], axis=1)))
    if len(order) < FRONT:
        order = np.arange(len(archs))
    ends = [math.log(network_macs(space, arch)) for arch in (space.smallest, space.largest)]
    chosen: list[int] = []
    for target in np.linspace(ends[0], ends[1], FRONT + 2)[1:-1]:
        left = [index for index in order.tolist() if index not in chosen]
        chosen += sorted(left, key=lambda index: abs(macs[index] - target))[:1]
    return [archs[index] for index in sorted(chosen, key=lambda index: macs[index])]


class Benchmark:
    """All jobs of one command line, and their outcomes."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.splits = Splits.open(options.data)
        self.images = tuple(map(len, (self.splits.train, self.splits.validation, self.splits.test)))
        self.space = SearchSpace.load(options.space).with_classes(len(self.splits.train.class_names))
        self.results = Results(options.results)
        self.seeds = range(options.seed, options.seed + options.seeds)
        self.candidates = draw_candidates(self.space, options.seed)
        first = self.recipe(options.recipes[0], options.seed)
        self.rates = options.rates or [first.phases[0].learning_rate]

    def recipe(self, text: str, seed: int) -> Recipe:
        """A recipe at the common budget."""
        return load_recipe(text, epochs=self.options.epochs, seed=seed)

    def supernet(self, text: str, seed: int) -> Job:
        """The training of a supernet."""
        recipe = self.recipe(text, seed)
        return Job(text, "", recipe, self.space, self.options.data, self.images, self.candidates)

    def twin(self, arch: Architecture, rate: float, seed: int) -> Job:
        """The training of one architecture alone."""
        recipe = alone_recipe(self.recipe(self.options.recipes[0], seed), rate)
        space = alone_space(self.space, arch)
        return Job("alone", str(arch), recipe, space, self.options.data, self.images, (space.largest,))

    def twins(self, archs: Sequence[Architecture]) -> list[Job]:
        """All trainings of architectures alone."""
        return [self.twin(arch, rate, seed) for seed in self.seeds for arch in archs for rate in self.rates]

    def outcome(self, job: Job) -> Outcome:
        """The outcome of a job that was run."""
        found = self.results.find(job)
        assert found is not None
        return found

    def run(self, jobs: Sequence[Job], pool: ProcessPoolExecutor) -> None:
        """Do what was not done yet; tell of each job as it ends."""
        running = {pool.submit(run_job, job): job for job in jobs if self.results.find(job) is None}
        for future in as_completed(running):
            self.results.add(future.result())
            self._tell(running[future], future.result())

    def choose(self) -> list[Architecture]:
        """Smallest, front members and largest, by the first recipe's supernet of the first seed."""
        outcome = self.outcome(self.supernet(self.options.recipes[0], self.options.seed))
        errors = 1.0 - np.array(outcome.validation[2:]) / len(self.splits.validation)
        front = choose_front(self.space, self.candidates[2:], errors)
        return [self.space.smallest, *front, self.space.largest]

    def alone(self, arch: Architecture, seed: int) -> Job:
        """The twin at the rate that is best on the validation images."""
        jobs = [self.twin(arch, rate, seed) for rate in self.rates]
        return max(jobs, key=lambda job: self.outcome(job).validation[0])

    def correct_alone(self, arch: Architecture) -> Values:
        """Test images that the twin got right, `(seeds, n)`."""
        count = len(self.splits.test)
        return np.stack([self.outcome(self.alone(arch, seed)).correct(0, count) for seed in self.seeds])

    def correct(self, text: str, arch: Architecture) -> Values:
        """Test images that a recipe's subnet got right, `(seeds, n)`."""
        index, count = self.candidates.index(arch), len(self.splits.test)
        outcomes = [self.outcome(self.supernet(text, seed)) for seed in self.seeds]
        return np.stack([outcome.correct(index, count) for outcome in outcomes])

    def _tell(self, job: Job, outcome: Outcome) -> None:
        count = len(self.splits.test)
        told = ", ".join(
            f"{name} {100 * outcome.correct(index, count).mean():.1f} %"
            for name, index in (("smallest", 0), ("largest", 1))[: len(job.archs)]
        )
        if job.arch:
            told = f"{job.arch} at {job.recipe.phases[0].learning_rate:.3g} {told.removeprefix('smallest ')}"
        print(f"{job.label}, seed {job.recipe.seed}: {told}, {outcome.cpu_seconds:.0f} CPU s", flush=True)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Points of accuracy: one seed's with a standard error over images, or a mean and spread over seeds."""

    points: float
    spread: float

    @classmethod
    def of(cls, values: Values) -> "Estimate":
        """Of what each image counts, `(seeds, n)`; differences of two networks are paired so."""
        means = 100 * values.mean(axis=1)
        if len(means) > 1:
            return cls(float(means.mean()), float(means.std(ddof=1)))
        return cls(float(means[0]), float(100 * values.std() / math.sqrt(values.shape[1])))

    def __str__(self) -> str:
        return f"{self.points:.1f} ± {self.spread:.1f}"

    @property
    def signed(self) -> str:
        """As a difference."""
        return f"{self.points:+.1f} ± {self.spread:.1f}"


def report(bench: Benchmark, archs: Sequence[Architecture]) -> dict[str, Any]:
    """Print the comparison; the same as a JSON document."""
    recipes = bench.options.recipes
    names = ["smallest", *(f"front {number}" for number in range(1, len(archs) - 1)), "largest"]
    alone = [bench.correct_alone(arch) for arch in archs]
    shared = {text: [bench.correct(text, arch) for arch in archs] for text in recipes}
    print_header(bench)
    print(
        table_line(["", "architecture", "M MACs", "alone", *recipes, *(f"{one} − alone" for one in recipes)])
    )
    print("|---" * (4 + 2 * len(recipes)) + "|")
    gaps: dict[str, list[Estimate]] = {text: [] for text in recipes}
    rows = []
    for number, (name, arch) in enumerate(zip(names, archs, strict=True)):
        found = {text: Estimate.of(shared[text][number]) for text in recipes}
        own = Estimate.of(alone[number])
        for text in recipes:
            gaps[text].append(Estimate.of(shared[text][number] - alone[number]))
        macs = network_macs(bench.space, arch)
        cells = [*map(str, (own, *found.values())), *(gaps[text][-1].signed for text in recipes)]
        print(table_line([name, f"`{arch}`", f"{macs / 1e6:.2f}", *cells]))
        rates = [bench.alone(arch, seed).recipe.phases[0].learning_rate for seed in bench.seeds]
        rows.append({"name": name, "arch": str(arch), "macs": macs, "alone": asdict(own), "rates": rates})
        rows[-1] |= {"recipes": {text: asdict(one) for text, one in found.items()}}
    means = {text: Estimate.of(np.mean(shared[text], axis=0) - np.mean(alone, axis=0)) for text in recipes}
    averages = [Estimate.of(np.mean(values, axis=0)) for values in (alone, *shared.values())]
    cells = [*map(str, averages), *(one.signed for one in means.values())]
    print(table_line(["mean", "", "", *cells]))
    print_verdicts(names, gaps, means)
    return {
        "rows": rows,
        "differences": {text: [asdict(one) for one in found] for text, found in gaps.items()},
        "mean_differences": {text: asdict(one) for text, one in means.items()},
        "spent": print_spent(bench, archs),
    }


def table_line(cells: Sequence[str]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def print_header(bench: Benchmark) -> None:
    """Say what was compared."""
    options, splits = bench.options, bench.splits
    first = bench.recipe(options.recipes[0], options.seed)
    spread = "spread over seeds" if options.seeds > 1 else "standard error over images, paired in differences"
    print(
        f"\n{options.data}: {len(splits.train)} images to learn from, {len(splits.validation)} to choose by, "
        f"{len(splits.test)} to judge by\n"
        f"{bench.space.name}: {bench.space.cardinality} architectures; front of {len(bench.candidates) - 2} "
        f"random ones on the supernet of {first.name}, seed {options.seed}\n"
        f"{options.epochs:g} epochs, batches of {first.batch_size}, seeds {[*bench.seeds]}; peak rate alone: "
        f"{' or '.join(f'{rate:.3g}' for rate in bench.rates)}; accuracy [%] ± {spread}\n"
    )


def print_verdicts(names: Sequence[str], gaps: dict[str, list[Estimate]], means: dict[str, Estimate]) -> None:
    """Say for each recipe what it loses, where most, and how many subnets keep the goal."""
    print()
    for text, found in gaps.items():
        worst = min(range(len(found)), key=lambda index: found[index].points)
        kept = sum(one.points >= -GOAL_POINTS for one in found)
        print(
            f"{text}: mean {means[text].signed}, worst {found[worst].signed} ({names[worst]}), "
            f"smallest {found[0].signed}; {kept} of {len(found)} lose at most {GOAL_POINTS:g} point"
        )
    print()


def print_spent(bench: Benchmark, archs: Sequence[Architecture]) -> list[dict[str, Any]]:
    """Print and return what the trainings of each column took, a mean over seeds."""
    columns = {text: [bench.supernet(text, seed) for seed in bench.seeds] for text in bench.options.recipes}
    columns["alone, all"] = [bench.alone(arch, seed) for seed in bench.seeds for arch in archs]
    rows = []
    for name, jobs in columns.items():
        outcomes = [bench.outcome(job) for job in jobs]
        macs, seconds = (
            sum(getattr(one, key) for one in outcomes) / len(bench.seeds) for key in ("macs", "cpu_seconds")
        )
        images = outcomes[0].images
        print(f"{name}: {images} images seen by each network, {macs / 1e12:.2f} T MACs, {seconds:.0f} CPU s")
        commits = sorted({one.commit for one in outcomes})
        rows.append(
            {"name": name, "images": images, "macs": macs, "cpu_seconds": seconds, "commits": commits}
        )
    return rows


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="cifar10", help="as `ofa-nas train` takes it (cifar10)")
    parser.add_argument("--space", default=str(Path(__file__).with_name("three_stages.toml")))
    parser.add_argument(
        "--recipes",
        nargs="+",
        default=list(RECIPES),
        help=f"names or TOML files, with changes such as {RECIPES[2]}: {', '.join(CHANGES)}; "
        "the first one sets how twins are trained",
    )
    parser.add_argument("--epochs", type=float, default=30.0, help="of every recipe and twin (30)")
    parser.add_argument(
        "--rates", type=float, nargs="+", help="peak rates of twins, the best is kept (the first recipe's)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each kind (1)")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, one thread each (2)")
    parser.add_argument(
        "--results",
        type=Path,
        default=Path("runs/recipes.jsonl"),
        help="outcomes so far (runs/recipes.jsonl)",
    )
    return parser.parse_args()


def main() -> None:
    """Train what is not trained yet, compare, print."""
    options = parse_options()
    bench = Benchmark(options)
    supernets = [bench.supernet(text, seed) for text in options.recipes for seed in bench.seeds]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.jobs, context, initializer=prepare_worker) as pool:
        bench.run([*supernets, *bench.twins([bench.space.largest, bench.space.smallest])], pool)
        archs = bench.choose()
        bench.run(bench.twins(archs), pool)
    document = report(bench, archs)
    made_by = record_provenance(seed=options.seed).to_json()
    print(json.dumps({"benchmark": "recipes", "epochs": options.epochs} | document | {"made_by": made_by}))


if __name__ == "__main__":
    main()
