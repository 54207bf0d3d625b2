"""The runs behind every estimate: what the report on evidence lists is what the estimates are made of."""

import pytest

from altgrad.analysis.cells import cell_key
from altgrad.analysis.tables import records
from altgrad.reporting import evidence_report
from altgrad.reporting.document import Fold, Grid, Paragraph, Section, anchor
from altgrad.reporting.evidence_links import cell_target, estimate_target, estimate_title
from altgrad.reporting.source import Source
from tests.reporting.conftest import SourceOf, rows


def sections(source: Source) -> dict[str, Section]:
    return {section.title: section for section in evidence_report.build(source).sections}


def test_every_difference_is_the_signed_sum_of_the_scores_beside_it(tuned: Source) -> None:
    found = sections(tuned)
    comparisons = records(tuned.tables["comparisons"].query("estimand != 'gap'"))
    assert {row["estimand"] for row in comparisons} == {"benefit", "did"}
    for row in comparisons:
        cells, by_seed = found[estimate_title(row["estimand"], cell_key(row))].blocks
        assert isinstance(cells, Grid) and isinstance(by_seed, Grid) and len(by_seed.rows) == row["n"]
        signs = [line["sign"] for line in rows(cells)]
        assert signs == {"benefit": ["+", "-"], "did": ["+", "-", "-", "+"]}[row["estimand"]]
        values = []
        for line in by_seed.rows:
            scores, value = [float(cell.text) for cell in line[1:-1]], float(line[-1].text)
            total = sum(score if sign == "+" else -score for sign, score in zip(signs, scores, strict=True))
            assert value == pytest.approx(total, abs=3e-4)
            values.append(value)
        assert sum(values) / len(values) == pytest.approx(row["mean"], abs=1e-4)


def test_the_runs_of_an_estimate_are_named(tuned: Source) -> None:
    cells, _ = sections(tuned)["did of manifold, nearest - master, all: E7M0"].blocks
    assert isinstance(cells, Grid)
    listed = {line["cell"]: line["runs"].split(", ") for line in rows(cells)}
    assert list(listed) == [f"E7M0-{update}-{s}-all" for s in ("nearest", "master") for update in ("adamw", "manifold")]
    known = set(tuned.tables["runs"]["run_id"])
    for cell, ids in listed.items():
        assert ids == [f"{cell}-s{seed}" for seed in range(1, 9)] and set(ids) <= known
    lrs = {line["cell"]: float(line["learning rate"]) for line in rows(cells)}
    assert lrs["E7M0-adamw-nearest-all"] > lrs["E7M0-adamw-master-all"]


def test_every_cell_has_its_runs_and_its_trials(tuned: Source) -> None:
    found = sections(tuned)
    for key, cell in tuned.cells.items():
        words, runs, trials = found["-".join(key)].blocks
        assert isinstance(words, Paragraph) and isinstance(runs, Grid) and isinstance(trials, Fold)
        assert words.text == (
            f"Learning rate {cell['lr']:g}, tuned over 7 learning rates on other seeds."
            f" Mean {cell['mean']:.4f} nats over 8 seeds; 0 diverged."
        )
        lines = rows(runs)
        assert sum(float(line["score"]) for line in lines) / 8 == pytest.approx(cell["mean"], abs=1e-4)
        assert {line["status"] for line in lines} == {"finished"}
        tried = rows(trials.grid)
        assert len(tried) == 7 and [float(line["learning rate"]) for line in tried if line["chosen"]] == [cell["lr"]]
        assert all(line["scores"].startswith("seed 101: ") for line in tried)


def test_rates_that_were_not_tuned_say_how_they_were_chosen(source_of: SourceOf) -> None:
    words = [
        section.blocks[0].text
        for section in sections(source_of("sweep")).values()
        if section.level == 3 and section.blocks and isinstance(section.blocks[0], Paragraph)
    ]
    assert sum(", the best of 3 on these seeds. " in text for text in words) == 8
    assert sum(", the only one that was run. " in text for text in words) == 1


def test_links_are_what_github_makes_of_the_headings(tuned: Source) -> None:
    key = ("E7M0", "manifold_n0.5", "nearest", "all")
    assert cell_target(key) == estimate_target("gap", key) == "evidence#e7m0-manifold_n05-nearest-all"
    assert estimate_target("benefit", key) == "evidence#benefit-of-manifold_n05-nearest-all-e7m0"
    anchors = [anchor(title) for title in sections(tuned)]
    assert len(anchors) == len(set(anchors))


def test_an_empty_study_has_no_evidence(source_of: SourceOf) -> None:
    report = evidence_report.build(source_of("empty"))
    assert report.answer.text == "No run has ended, so nothing stands behind any number."
