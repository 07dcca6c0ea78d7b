"""What `ofa-nas predictor report` prints."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ofa_nas.pipeline.predicting.predictor_report import PredictorReport


def show_report(report: "PredictorReport") -> None:
    """Print scores, regrets and noise."""
    from ofa_nas.cli.console import make_table, out, wide
    from ofa_nas.pipeline.predicting.predictor_page import (
        BUDGET_HEADERS,
        HEADERS,
        describe_noise,
        regret_cells,
        score_cells,
    )

    out.print(f"{report.kind} predictor of {report.supernet}, {report.samples} subnets; errors in points")
    table = make_table(*HEADERS)
    for score in report.scores:
        table.add_row(*score_cells(score), style="bold" if score.kind == report.kind else "")
    wide.print(table)
    table = make_table(*BUDGET_HEADERS)
    for one in report.regrets:
        table.add_row(*regret_cells(one))
    out.print(table)
    out.print(describe_noise(report))
