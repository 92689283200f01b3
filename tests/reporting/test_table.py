"""Tables of a comparison, as text."""

import csv
import io

import pytest

from afield.records import Estimate, PlaceDifference, Summary, SummaryRow, write_summary
from afield.reporting.table import comma_separated, latex, markdown


def estimate(mean: float) -> Estimate:
    return Estimate(mean, 0.012, 3, (mean - 0.03, mean + 0.03))


PLACE = PlaceDifference(0.05, 0.02, 4, (-0.01, 0.11), better_on=3, probability=0.9, seed_share=0.1)
SUMMARY = Summary(
    data="pets",
    selection="train_validation",
    metric="accuracy",
    seeds=(0, 1, 2),
    recipes={
        "erm": SummaryRow({"ink_1": estimate(0.5)}, estimate(0.5), estimate(0.0), at_new_place=PLACE),
        "swad+sd": SummaryRow({"ink_1": estimate(0.55)}, estimate(0.45), estimate(-0.05), at_new_place=PLACE),
    },
    recommended=None,
    reason="-",
)


def test_markdown_by_hand():
    assert markdown(SUMMARY) == (
        "| recipe | ink_1 | average | − erm, these domains | − erm, new place |\n"
        "| --- | --- | --- | --- | --- |\n"
        "| erm | 50.0 ± 1.2 [47.0, 53.0] | 50.0 ± 1.2 [47.0, 53.0] |  |  |\n"
        "| swad+sd | 55.0 ± 1.2 [52.0, 58.0] | 45.0 ± 1.2 [42.0, 48.0] | -5.0 ± 1.2 [-8.0, -2.0] "
        "| +5.0 ± 2.0 [-1.0, +11.0] |\n"
    )


def test_latex_marks_the_best_of_each_column_and_escapes_names():
    lines = latex(SUMMARY).splitlines()
    assert lines[:2] == [r"\begin{tabular}{lcccc}", r"\toprule"]
    assert lines[2] == r"recipe & ink\_1 & average & $-$ erm, these domains & $-$ erm, new place \\"
    assert lines[4].startswith(r"erm & 50.0 $\pm$ 1.2 [47.0, 53.0] & \textbf{50.0 $\pm$ 1.2 [47.0, 53.0]} &")
    assert lines[5].startswith(r"swad+sd & \textbf{55.0 $\pm$ 1.2 [52.0, 58.0]} & 45.0")
    assert lines[-2:] == [r"\bottomrule", r"\end{tabular}"]


def test_csv_has_every_value_unrounded():
    rows = list(csv.DictReader(io.StringIO(comma_separated(SUMMARY))))
    assert [row["column"] for row in rows] == ["ink_1", "average"] * 2 + ["erm, these domains", "erm, new place"]
    last = rows[-1]
    assert (last["recipe"], last["metric"], last["n"]) == ("swad+sd", "accuracy", "4")
    assert [float(last[name]) for name in ("mean", "sd", "ci95_low", "ci95_high")] == [0.05, 0.02, -0.01, 0.11]


@pytest.mark.parametrize("form", ["markdown", "latex", "csv"])
def test_the_command_prints_the_table_alone(afield, tmp_path, form):
    write_summary(tmp_path / "summary.json", SUMMARY)
    code, out, err = afield("table", tmp_path, "--format", form)
    assert (code, err) == (0, "")
    assert out == {"markdown": markdown, "latex": latex, "csv": comma_separated}[form](SUMMARY)
