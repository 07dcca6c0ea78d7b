"""What `ofa-nas predictor report` prints."""

from typing import TYPE_CHECKING

from ofa_nas.figures import format_count

if TYPE_CHECKING:
    from ofa_nas.pipeline.predictor_report import PredictorReport


def show_report(report: "PredictorReport") -> None:
    """Print scores, regrets and noise."""
    from ofa_nas.cli.console import make_table, out, wide
    from ofa_nas.pipeline.predictor_page import BUDGET_HEADERS, HEADERS, describe_noise, score_cells

    out.print(f"{report.kind} predictor of {report.supernet}, {report.samples} subnets; errors in points")
    table = make_table(*HEADERS)
    for score in report.scores:
        table.add_row(*score_cells(score), style="bold" if score.kind == report.kind else "")
    wide.print(table)
    table = make_table(*BUDGET_HEADERS)
    for one in report.regrets:
        regrets = (f"{100 * value:.2f}" for value in (one.top_1, one.top_10))
        table.add_row(format_count(one.macs), f"{one.subnets:.0f}", *regrets)
    out.print(table)
    out.print(describe_noise(report))
