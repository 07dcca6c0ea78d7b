"""A report of a predictor as one HTML page with plots, which needs nothing beside it."""

from ofa_nas.charts import PAGE, Chart, Series, agreement_chart, draw_svg
from ofa_nas.figures import format_count
from ofa_nas.pages.html import Markup, table, tag
from ofa_nas.pages.page import whole_page
from ofa_nas.pipeline.predicting.predictor_report import LATE, RANDOM, PredictorReport, Regret, Score

BUDGET_HEADERS = (
    "MACs",
    "held out within",
    "top-1 regret",
    "of the truth",
    "top-10 regret",
    "of the truth",
)
HEADERS = (
    "kind",
    "fitted to",
    "held out",
    "tau",
    "Spearman",
    "RMSE",
    "to the truth",
    "bias, top 10 %",
    "covered",
    "top-1 regret",
    "top-10 regret",
)


def score_cells(score: Score) -> tuple[str, ...]:
    """A score in the order of `HEADERS`; errors in points."""
    return (
        score.kind,
        str(score.samples),
        score.held_out,
        f"{score.tau:.3f}" + (f" ± {score.tau_spread:.3f}" if score.held_out == RANDOM else ""),
        f"{score.spearman:.3f}",
        f"{100 * score.rmse:.2f}",
        "?" if score.true_rmse is None else f"{100 * score.true_rmse:.2f}",
        f"{100 * score.top_bias:+.2f}",
        f"{score.coverage:.1%}",
        f"{100 * score.top_1_regret:.2f}",
        f"{100 * score.top_10_regret:.2f}",
    )


def describe_noise(report: PredictorReport) -> str:
    """What measuring on so many images adds, and how that is known."""
    noise = f"{100 * report.noise:.2f} points a subnet"
    if report.is_noise_known:
        assert report.tau_ceiling is not None
        return (
            f"noise of measuring on {report.images} images: {noise}, from two halves of them; the true "
            f"accuracies would show that RMSE, Kendall tau {report.tau_ceiling:.3f} and their own regrets; "
            "predictions can show better ones, by the luck of these images, but not come nearer to the truth"
        )
    return (
        f"noise of measuring on {report.images} images: at most {noise}, the binomial figure; subnets share "
        "much of it, and nobody counted how much (collect anew to know)"
    )


def regret_cells(regret: Regret) -> tuple[str, ...]:
    """What trusting it costs at a budget, in the order of `BUDGET_HEADERS`; in points."""
    values = (regret.top_1, regret.perfect_top_1, regret.top_10, regret.perfect_top_10)
    regrets = ("?" if value is None else f"{100 * value:.2f}" for value in values)
    return (format_count(regret.macs), f"{regret.subnets:.0f}", *regrets)


def report_page(report: PredictorReport) -> str:
    """The page, as text."""
    title = f"{report.kind} predictor of {report.supernet}: {report.samples} subnets"
    charts = [
        _scatter(report),
        _curve(report, RANDOM, "Learning curve: random thirds held out"),
        _curve(report, LATE, "Early → late: the last third held out"),
    ]
    drawings = [
        tag("figure", Markup(draw_svg(chart, PAGE)), attributes={"class": "chart"}) for chart in charts
    ]
    return whole_page(
        title,
        tag("header", tag("h1", title)),
        tag(
            "main",
            tag("p", f"{describe_noise(report)}."),
            tag("div", *drawings, attributes={"class": "pair"}),
            tag("h2", "Held-out subnets"),
            tag("p", "Means over the splits; errors and regrets in points."),
            table(HEADERS, map(score_cells, report.scores)),
            tag("h2", "What trusting it costs, by budget"),
            table(BUDGET_HEADERS, map(regret_cells, report.regrets)),
        ),
    )


def _scatter(report: PredictorReport) -> Chart:
    return agreement_chart(
        "Predicted without its fifth, and measured",
        ("measured top-1 [%]", "predicted, with 90 % interval [%]"),
        [(100 * point.measured, 100 * point.predicted) for point in report.points],
        errors=[100 * point.half_width for point in report.points],
    )


def _curve(report: PredictorReport, held_out: str, title: str) -> Chart:
    series = []
    for kind in dict.fromkeys(score.kind for score in report.scores):
        own = [score for score in report.scores if (score.kind, score.held_out) == (kind, held_out)]
        series.append(
            Series(
                kind,
                [float(score.samples) for score in own],
                [score.tau for score in own],
                [score.tau_spread for score in own],
                is_line=True,
            )
        )
    if report.tau_ceiling is not None:
        ends = [float(min(report.scores, key=_size).samples), float(max(report.scores, key=_size).samples)]
        series.append(Series("true accuracies", ends, [report.tau_ceiling] * 2, is_line=True, is_dashed=True))
    return Chart(title, "subnets fitted to", "Kendall tau", series)


def _size(score: Score) -> int:
    return score.samples
