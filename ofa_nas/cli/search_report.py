"""What `ofa-nas search` shows to people."""

from typing import TYPE_CHECKING

from ofa_nas.figures import format_amount, format_bytes, format_count, format_ms, format_share, thin
from ofa_nas.precisions import FP32

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ofa_nas.accuracy import Top1
    from ofa_nas.pipeline.searching.contest import Contest
    from ofa_nas.pipeline.searching.estimators import Candidate, Estimators
    from ofa_nas.pipeline.searching.finalists import Finals
    from ofa_nas.pipeline.searching.search import SearchResult, Unmet
    from ofa_nas.search.budgets import Budget

SHOWN_ON_FRONT = 12


def show_search(
    result: "SearchResult",
    estimators: "Estimators",
    contest: "Contest | None",
    finals: "Finals | None",
    *,
    held_out: "Top1 | None",
    seeds: int,
    is_plotted: bool,
) -> None:
    """Print supernet, budgets, front, evaluated and timed finalists, and the chosen subnet."""
    from ofa_nas.cli.console import out
    from ofa_nas.search.budgets import Cost

    show_source(estimators)
    _show_method([result], estimators, seeds=seeds)
    if result.goal is not None:
        goal = f"predicted to reach {100.0 * result.goal.accuracy:.6g}% top-1"
        out.print(f"objective the least {result.goal.key.title} that is {goal}")
    for budget, binds in zip(result.budgets, result.binding, strict=True):
        verdict = "binds" if binds else "does not bind"
        out.print(f"budget    {budget}: {verdict}{describe_margin(budget, estimators)}")
    _show_end_of_space(result, estimators)
    _show_front(result, [result.chosen], is_plotted=is_plotted)
    if contest is not None:
        _show_contest(contest, result.chosen)
    if finals is not None:
        has_budget = any(budget.key == Cost("latency", finals.device) for budget in result.budgets)
        _show_finals(finals, estimators, has_budget=has_budget)
    chosen = result.chosen
    out.print(f"subnet    [bold]{chosen.architecture}[/bold]")
    half_width = 100 * chosen.half_width
    interval = f"; top-1 ± {half_width:.1f} points at 90 %" if half_width else ""
    out.print(f"predicted {', '.join(_cells(chosen))}{interval}")
    if not half_width:
        out.print(f"accuracy  {estimators.description}")
    if held_out is not None:
        show_held_out(held_out)


def _show_end_of_space(result: "SearchResult", estimators: "Estimators") -> None:
    """Say what else there is where budgets leave room and the space has no more."""
    from ofa_nas.cli.console import out
    from ofa_nas.space.operators import size_unit

    space = estimators.card.space
    largest = max(space.resolutions)
    is_free = bool(result.budgets) and not any(result.binding) and result.goal is None
    if is_free and result.chosen.architecture.resolution == largest:
        out.print(
            f"space     ends at {largest} {size_unit(space.axes)}, and no budget binds: a copy with larger "
            "resolutions may be more accurate (docs/training.md)"
        )


def show_held_out(top_1: "Top1") -> None:
    """Print what the chosen subnet reaches on images that chose nothing."""
    from ofa_nas.cli.console import out

    out.print(
        f"held out  top-1 {top_1.accuracy:.1%} ± {100 * top_1.half_width:.1f} points at 90 % on "
        f"{top_1.images} images that took no part in the choice"
    )


def show_list(
    answers: "Sequence[Unmet | SearchResult]", estimators: "Estimators", *, seeds: int, is_plotted: bool
) -> None:
    """Print supernet, the budgets that all answers share, one row for each value of the list, and a front.

    A list of a sum has one front; one of peaks has a front for each value, and the loosest one's is shown.
    """
    from ofa_nas.cli.console import make_table, out, wide
    from ofa_nas.pipeline.searching.search import SearchResult

    results = [answer for answer in answers if isinstance(answer, SearchResult)]
    pairs = zip(answers[0].budgets, results[-1].budgets, strict=True)
    (listed,) = (place for place, (first, last) in enumerate(pairs) if first != last)
    show_source(estimators)
    _show_method(results, estimators, seeds=seeds)
    for place, budget in enumerate(results[-1].budgets):
        if place == listed:
            out.print(f"budgets   {budget.title}, one subnet for each{_describe_share(budget, estimators)}")
        else:
            out.print(f"budget    {budget}{describe_margin(budget, estimators)}")
    table = make_table("budget", *_titles(results[-1].chosen), "binding", "architecture")
    for answer in answers:
        amount = format_amount(answer.budgets[listed].limit, answer.budgets[listed].unit)
        if isinstance(answer, SearchResult):
            flags = zip(answer.budgets, answer.binding, strict=True)
            binding = ", ".join(budget.title for budget, binds in flags if binds) or "none"
            table.add_row(amount, *_values(answer.chosen), binding, str(answer.chosen.architecture))
        else:
            table.add_row(amount, "cannot be met")
    wide.print(table)
    for answer in answers:
        if not isinstance(answer, SearchResult):
            out.print(f"unmet     {answer.reason}")
    last = results[-1]
    is_one = last.axis == last.budgets[listed].key
    out.print(f"front     against {last.axis.title}" + ("" if is_one else f", within {last.budgets[listed]}"))
    _show_front(last, [one.chosen for one in (results if is_one else [last])], is_plotted=is_plotted)
    half_width = 100 * results[-1].chosen.half_width
    if half_width:
        out.print(f"predicted top-1 ± {half_width:.1f} points at 90 %")
    else:
        out.print(f"accuracy  {estimators.description}")
    if estimators.tables:
        out.print(
            "measured  nothing: a search with one of these budgets times finalists where --measure says"
        )


def show_source(estimators: "Estimators") -> None:
    """Print what the predictions rest on: tables, supernet, and resolutions that a table lacks."""
    from ofa_nas.cli.console import out
    from ofa_nas.cli.device_tables import describe_table

    card = estimators.card
    for table in estimators.tables.values():
        out.print(f"device    {describe_table(table)}")
    out.print(
        f"supernet  {estimators.files.name}: {card.space.name}, {card.space.cardinality:.2g} subnets, "
        f"trained on {card.data} ({card.space.classes} classes)"
    )
    if estimators.precision != FP32:
        out.print(
            f"precision {estimators.precision}: latency, memory and size are those of {estimators.precision} "
            "files; top-1 is predicted of fp32, and nothing is taken off: --export measures what is lost"
        )
    if estimators.left_out:
        held = ", ".join(map(str, estimators.encoding.space.resolutions))
        missing = ", ".join(map(str, estimators.left_out))
        holder = "the table does" if len(estimators.tables) == 1 else "the tables do"
        out.print(f"narrowed  to {held} px: {holder} not hold {missing}")


def _show_method(results: "Sequence[SearchResult]", estimators: "Estimators", *, seeds: int) -> None:
    """Print what may be claimed of all answers of one search, and how far seeds were apart."""
    from ofa_nas.cli.console import out
    from ofa_nas.search.budgets import spread_text

    out.print(f"searched  {_describe_method(results, estimators)}")
    if all(one.is_exact for one in results):
        if seeds > 1:
            out.print("seeds     one: nothing in an exact search is random")
    elif seeds == 1:
        out.print("seeds     one: --seeds 5 takes the best of five, and tells how far apart they are")
    else:
        spreads = ", ".join(spread_text(one.by_seed, one.goal.key if one.goal else None) for one in results)
        out.print(f"seeds     {seeds}, of which the best was taken; their answers: {spreads}")


def _describe_method(results: "Sequence[SearchResult]", estimators: "Estimators") -> str:
    """What may be claimed of all answers of one search."""
    result = results[-1]
    seconds = f"{result.cpu_seconds:.2g} s"
    if all(one.is_exact for one in results):
        none = "none within the budgets is predicted to be better"
        if result.goal is not None:
            none = "none within the budgets that costs less is predicted to reach it"
        return f"all {estimators.encoding.space.cardinality:.2g} subnets, exactly, in {seconds}: {none}"
    text = f"{result.evaluations:,} subnets scored in {seconds} by {result.method}"
    if result.method == "evolution" and estimators.predictor.additive(estimators.encoding) is None:
        text += ", for the predictor is no sum over the blocks, which alone is searched exactly"
    gaps = [one.bound - one.chosen.accuracy for one in results if one.bound is not None]
    if len(gaps) == len(results):
        text += f"; none within the budgets is predicted to be more than {100 * max(gaps):.2g} points better"
    return text


def describe_margin(budget: "Budget", estimators: "Estimators") -> str:
    """At which predicted latency a budget was searched, and why."""
    share = _describe_share(budget, estimators)
    if not budget.margin:
        return share
    searched = format_amount(budget.searched_limit, budget.unit)
    return f"; searched at {searched} ({share.removeprefix('; ')})"


def _describe_share(budget: "Budget", estimators: "Estimators") -> str:
    from ofa_nas.pipeline.searching.estimators import default_margin

    if budget.name != "latency":
        return ""
    error = estimators.tables[budget.device].error
    if not budget.margin:
        return "; no margin" + ("" if error else ": nobody knows how far off the table is")
    is_default = error is not None and budget.margin == default_margin(estimators.tables[budget.device])
    return f"; margin {format_share(budget.margin)}" + (": the table's p95 error" if is_default else "")


def show_nothing_measured(estimators: "Estimators") -> None:
    """Say that latencies are predictions, and how to have them measured."""
    from ofa_nas.cli.console import out
    from ofa_nas.pipeline.tables.table_verification import told_address

    if estimators.tables:
        boards = list(filter(None, map(told_address, estimators.tables.values())))
        address = boards[0] if len(estimators.tables) == len(boards) == 1 else "ssh://USER@HOST"
        noun = "latency" if len(estimators.tables) == 1 else "latencies"
        verb = "is" if len(estimators.tables) == 1 else "are"
        out.print(
            f"measured  nothing: the {noun} on {' and '.join(estimators.tables)} {verb} predicted. --measure "
            f"{address} times finalists on the board itself",
            markup=False,
        )


def _show_contest(contest: "Contest", chosen: "Candidate") -> None:
    from rich.markup import escape

    from ofa_nas.cli.console import make_table, out, wide

    table = make_table("predicted", "measured", "together", "candidate")
    for one in contest.contenders:
        accuracies = (one.candidate.accuracy, one.sample.accuracy, one.accuracy)
        table.add_row(
            *(f"{accuracy:.1%}" for accuracy in accuracies),
            str(one.candidate.architecture),
            style="bold" if one.candidate == chosen else "",
        )
    first = contest.contenders[0].sample
    out.print(
        f"evaluated on {first.images} images of {escape(first.split)}; prediction and measurement together, "
        "each weighed by how sure it is, order them; a file is judged on other images:\n"
    )
    wide.print(table)


def _show_finals(finals: "Finals", estimators: "Estimators", *, has_budget: bool) -> None:
    from rich.markup import escape

    from ofa_nas.cli.console import make_table, out, wide
    from ofa_nas.devices import describe_threads

    rounds = max(one.round for one in finals.finalists)
    table = make_table(
        *(["round"] if rounds > 1 else []), "top-1", "predicted", "p50", "p90", "budget", "finalist"
    )
    for one in finals.finalists:
        is_chosen = one.candidate == finals.chosen
        verdict = ["kept" if one.is_within else "exceeded"] if has_budget else []
        table.add_row(
            *([str(one.round)] if rounds > 1 else []),
            f"{one.candidate.accuracy:.1%}",
            format_ms(one.candidate.latencies_ms[finals.device]),
            format_ms(one.measured.latency_ms) + (", noisy" if one.measured.noisy else ""),
            format_ms(one.measured.p90_ms),
            ", ".join([*verdict, *(["chosen"] if is_chosen else [])]),
            str(one.candidate.architecture),
            style="bold" if is_chosen else "",
        )
    device = estimators.tables[finals.device]
    speeds = ", ".join(f"{one:.2f}" for one in finals.slowdowns)
    how = f", at the table's speed (the device now takes {speeds} times as long)"
    how = how if device.measured else ""
    if finals.stale:
        reasons = "; ".join(finals.stale)
        how = ", as fast as it was in each round" if rounds > 1 else ", as fast as it is now"
        how += f": the table {device.name} is stale ({reasons}), so measure it anew (ofa-nas profile)"
    if device.device.threads is None:
        how += f", with {describe_threads(finals.threads)} (the table {device.name} does not tell its own)"
    picked = f" in {rounds} rounds, each picked by what those before had shown" if rounds > 1 else ""
    out.print(f"finalists timed on {escape(finals.address)}{picked}{escape(how)}:\n")
    wide.print(table)


def _show_front(result: "SearchResult", chosen: "Sequence[Candidate]", *, is_plotted: bool) -> None:
    """Print a front, with the chosen candidates marked, as a table and maybe as a plot."""
    from ofa_nas.cli.console import make_table, wide
    from ofa_nas.cli.plot import show_front

    archs = {one.architecture for one in chosen}

    def is_chosen(candidate: "Candidate") -> bool:
        return candidate.architecture in archs

    table = make_table(*_titles(result.chosen), "architecture")
    for candidate in thin(result.front, SHOWN_ON_FRONT, is_kept=is_chosen):
        style = "bold" if is_chosen(candidate) else ""
        table.add_row(*_values(candidate), str(candidate.architecture), style=style)
    wide.print(table)
    if is_plotted:
        show_front(result.front, chosen, result.axis)


def _values(candidate: "Candidate") -> tuple[str, ...]:
    return (
        f"{candidate.accuracy:.1%}",
        *(format_ms(value) for value in candidate.latencies_ms.values()),
        format_count(candidate.macs),
        format_bytes(candidate.peak_activation_bytes),
        format_bytes(candidate.weight_bytes),
    )


def _cells(candidate: "Candidate") -> list[str]:
    pairs = zip(_titles(candidate), _values(candidate), strict=True)
    return [f"{title} {value}" for title, value in pairs]


def _titles(candidate: "Candidate") -> tuple[str, ...]:
    devices = list(candidate.latencies_ms)
    latencies = ["latency"] if len(devices) == 1 else [f"latency on {device}" for device in devices]
    return ("top-1", *latencies, "MACs", "peak", "weights")
