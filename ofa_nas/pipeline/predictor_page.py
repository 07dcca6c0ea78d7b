"""A report of a predictor as one HTML page with plots, which needs nothing beside it."""

from html import escape

from ofa_nas.charts import Chart, Series, draw_svg
from ofa_nas.pipeline.predictor_report import LATE, RANDOM, PredictorReport, Score

STYLE = (
    "body{font:14px sans-serif;max-width:1100px;margin:2em auto;color:#222}table{border-collapse:collapse}"
    "td,th{padding:2px 12px;text-align:right}th{border-bottom:1px solid #888}svg{margin:8px 4px}"
)
BUDGET_HEADERS = ("MACs", "held out within", "top-1 regret", "top-10 regret")
HEADERS = (
    "kind",
    "fitted to",
    "held out",
    "tau",
    "Spearman",
    "RMSE",
    "without noise",
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
            f"noise of measuring on {report.images} images: {noise}, from two halves of them; perfect "
            f"predictions would show that RMSE, and Kendall tau {report.tau_ceiling:.3f}"
        )
    return (
        f"noise of measuring on {report.images} images: at most {noise}, the binomial figure; subnets share "
        "much of it, and nobody counted how much (collect anew to know)"
    )


def report_page(report: PredictorReport) -> str:
    """The page, as text."""
    charts = [
        _scatter(report),
        _curve(report, RANDOM, "Learning curve: random thirds held out"),
        _curve(report, LATE, "Early → late: the last third held out"),
    ]
    rows = "".join(_row("td", score_cells(score)) for score in report.scores)
    budgets = "".join(
        _row(
            "td",
            (
                f"{one.macs / 1e6:.1f} M",
                f"{one.subnets:.0f}",
                f"{100 * one.top_1:.2f}",
                f"{100 * one.top_10:.2f}",
            ),
        )
        for one in report.regrets
    )
    title = f"{report.kind} predictor of {report.supernet}: {report.samples} subnets"
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>",
            f"<h1>{escape(title)}</h1><p>{escape(describe_noise(report))}.</p>",
            *charts,
            "<h2>Held-out subnets</h2><p>Means over the splits; errors and regrets in points.</p>",
            f"<table>{_row('th', HEADERS)}{rows}</table>",
            "<h2>What trusting it costs, by budget</h2>",
            f"<table>{_row('th', BUDGET_HEADERS)}{budgets}</table>",
            "</body></html>\n",
        ]
    )


def _row(cell: str, texts: tuple[str, ...]) -> str:
    return "<tr>" + "".join(f"<{cell}>{escape(text)}</{cell}>" for text in texts) + "</tr>"


def _scatter(report: PredictorReport) -> str:
    measured = [100 * point.measured for point in report.points]
    predicted = [100 * point.predicted for point in report.points]
    ends = [min(measured + predicted), max(measured + predicted)]
    return draw_svg(
        Chart(
            "Predicted without its fifth, and measured",
            "measured top-1 [%]",
            "predicted, with 90 % interval [%]",
            [
                Series("", measured, predicted, [100 * point.half_width for point in report.points]),
                Series("equal", ends, ends, is_line=True, is_dashed=True),
            ],
        )
    )


def _curve(report: PredictorReport, held_out: str, title: str) -> str:
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
        series.append(
            Series("perfect predictions", ends, [report.tau_ceiling] * 2, is_line=True, is_dashed=True)
        )
    return draw_svg(Chart(title, "subnets fitted to", "Kendall tau", series))


def _size(score: Score) -> int:
    return score.samples
