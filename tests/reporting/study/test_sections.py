"""How sure it is, what was predicted, why, and what the study cannot say: each follows from the tables."""

import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

from altgrad.analysis.study_info import to_frame
from altgrad.reporting.document import Bullets, Grid, Paragraph, Section
from altgrad.reporting.source import STORAGES, Source
from altgrad.reporting.study import certainty, hypotheses, learned, mechanism, methods, report, threats
from tests.analysis.conftest import Pipeline
from tests.analysis.fabricate import make_study
from tests.figures.conftest import replaced
from tests.reporting.conftest import SourceOf, rows
from tests.reporting.study.test_answer import PRIMARY, changed, row
from tests.reporting.tuned import BIGRAM


def words(section: Section) -> str:
    texts = [block.text for block in section.blocks if isinstance(block, Paragraph)]
    items = [item for block in section.blocks if isinstance(block, Bullets) for item in block.items]
    return "\n".join([*texts, *items])


def table(section: Section) -> list[dict[str, str]]:
    (found,) = [block for block in section.blocks if isinstance(block, Grid)]
    return rows(found)


def section(sections: list[Section], title: str) -> Section:
    (found,) = [section for section in sections if section.title == title]
    return found


def test_the_answer_by_format_is_the_comparisons_table(tuned: Source) -> None:
    found = rows(report.answer_grid(tuned))
    assert [line["format"] for line in found] == ["E4M3", "E7M0"]
    for line in found:
        oracle = row(tuned, **PRIMARY, format=line["format"])
        assert line["DiD"] == f"{oracle['mean']:+.4f}" and line["verdict"] == oracle["verdict"]
        assert float(line["benefit, nearest"]) - float(line["benefit, master"]) == pytest.approx(
            oracle["mean"], abs=2e-4
        )
    assert {line["best"] for line in found} == {"0 %", "100 %"}


def test_planned_and_reached_precision_stand_side_by_side(tuned: Source) -> None:
    precision = tuned.tables["precision"].set_index("format")
    found = {line["format"]: line for line in rows(certainty.precision_grid(tuned))}
    for name, line in found.items():
        oracle = precision.loc[name]
        assert (line["n"], line["sd"], line["half width"]) == (
            "8",
            f"{oracle['sd']:.4f}",
            f"{oracle['half_width']:.4f}",
        )
        assert line["shown from"] == f"{oracle['detectable']:.4f}"
        assert line["sd, tuning"] == f"{oracle['tuning_sd']:.4f}"
    text = "\n".join(certainty.certainty(tuned))
    assert f"{int(precision['planned_n'].max())} would show a difference of 0.02 nats with a probability of 80%" in text
    assert "By the spread over 3 tuning seeds of each format, pooled over the formats" in text


def test_a_study_that_was_not_tuned_has_no_plan(source_of: SourceOf) -> None:
    text = "\n".join(certainty.certainty(source_of("sweep")))
    assert "None were planned, because no tuning seeds have the difference in differences." in text
    assert "too few seeds for a sign-flip interval" in text
    assert {line["sd, tuning"] for line in rows(certainty.precision_grid(source_of("sweep")))} == {"n/a"}


def test_intervals_that_disagree_are_named(tuned: Source) -> None:
    assert "agree on whether 0 lies within in 2 formats." in "\n".join(certainty.certainty(tuned))
    apart = changed(tuned, {**PRIMARY, "format": "E4M3"}, flip_low=-0.1)
    assert "disagree on whether 0 lies within in E4M3. Verdicts follow the t interval" in "\n".join(
        certainty.certainty(apart)
    )
    unbounded = changed(tuned, {**PRIMARY, "format": "E4M3"}, flip_low=-math.inf, flip_high=math.inf)
    assert "in 1 format; in 1 format too few seeds leave the second unbounded." in "\n".join(
        certainty.certainty(unbounded)
    )


def test_divergence_has_its_exact_interval(tuned: Source, source_of: SourceOf) -> None:
    assert "none of the runs compared diverged. So few seeds leave rates of up to 37 % open" in "\n".join(
        certainty.certainty(tuned)
    )
    text = "\n".join(certainty.certainty(source_of("all diverged")))
    assert "E4M3-manifold-master 3 of 3 (95% interval [29 %, 100 %])" in text


def test_what_would_change_the_answer(tuned: Source) -> None:
    calm = "\n".join(certainty.what_would_change(tuned))
    assert calm.startswith("Anything that is the same in every run here")
    close = changed(tuned, {**PRIMARY, "format": "E4M3"}, verdict="helps (not after Holm)")
    assert "A few more seeds in E4M3" in "\n".join(certainty.what_would_change(close))
    open_ = changed(tuned, {**PRIMARY, "format": "E7M0"}, verdict="no difference shown")
    precision = open_.tables["precision"].assign(detectable=0.25)
    missed = Source(replaced(open_.tables, precision=precision), open_.figures)
    assert "More seeds in E7M0 (0.2500): no difference is shown there" in "\n".join(certainty.what_would_change(missed))
    cells = tuned.tables["cells"]
    edge = (cells["format"] == "E7M0") & (cells["storage"] == "nearest") & (cells["layers"] == "all")
    at_edge = Source(replaced(tuned.tables, cells=cells.assign(lr_at_edge=edge)), tuned.figures)
    assert "in 2 cells whose best stands at or near the edge of those tried: E7M0-adamw-nearest and E7M0-manifold" in (
        "\n".join(certainty.what_would_change(at_edge))
    )


def test_hypotheses_stand_with_prediction_result_and_plan(tuned: Source) -> None:
    found = hypotheses.section(tuned)
    assert "2 supported, 1 refuted and 1 not run" in words(found)
    by_claim = {line["claim"]: line for line in table(found)}
    little = by_claim["It is little."]
    assert little["verdict"] == "refuted"
    assert little["prediction"] == "benefit of manifold, nearest is below 0.01 nats: E7M0"
    oracle = row(tuned, estimand="benefit", update="manifold", layers="all", storage="nearest", format="E7M0")
    assert little["result"] == f"E7M0 {oracle['mean']:+.4f} [{oracle['low']:+.4f}, {oracle['high']:+.4f}] (refuted)"
    assert "supported" not in by_claim["It grows."]["result"]  # an order is judged by its steps
    assert by_claim["Unseen."]["n"] == "0" and by_claim["Unseen."]["verdict"] == "not run"
    plan = tuned.tables["plan"].iloc[0]
    assert f"The plan is {plan['file']}, SHA-256 {plan['sha256']}." in words(found)


def test_a_study_without_hypotheses_says_so(source_of: SourceOf) -> None:
    assert words(hypotheses.section(source_of("sweep"))) == (
        "No hypotheses were written down for this study before its runs."
    )


def test_what_was_learned_from_context_is_what_is_left_below_bigrams(tuned: Source) -> None:
    found = learned.section(tuned)
    mean = {key: cell["mean"] for key, cell in tuned.cells.items()}
    adamw, manifold = (("E7M0", update, "nearest", "all") for update in ("adamw", "manifold"))
    best = BIGRAM - mean["BF16", "adamw", "master", "all"]
    by_format = {line["format"]: line for line in table(found)}
    assert [line["format"] for line in table(found)] == ["E4M3", "E7M0", "BF16"]
    assert by_format["BF16"]["adamw, master"] == f"{best:+.4f}" and by_format["BF16"]["manifold, nearest"] == "not run"
    assert by_format["E7M0"]["manifold, nearest"] == f"{BIGRAM - mean[manifold]:+.4f}"
    assert f"The BF16 baseline gains {best:.4f} nats there." in words(found)
    early = Source(replaced(tuned.tables, study=to_frame(replace(tuned.info, bigram_loss=2.0))), tuned.figures)
    assert f"The BF16 baseline itself ends {BIGRAM - best - 2.0:.4f} nats above it." in words(learned.section(early))
    assert by_format["E7M0"]["adamw, nearest"] == f"{BIGRAM - mean[adamw]:+.4f}"


def test_stuck_runs_have_their_rate_and_what_they_weigh(tuned: Source) -> None:
    runs = tuned.tables["runs"].query("format == 'E7M0' and layers == 'all' and update in ('adamw', 'manifold')")
    runs = runs[runs["storage"].isin(["nearest", "master"])]
    stuck = runs.assign(stuck=runs["score"] > 0.99 * BIGRAM)
    oracle = row(tuned, **PRIMARY, format="E7M0")
    assert oracle["stuck"] == stuck["stuck"].sum()
    free = {int(seed) for seed, part in stuck.groupby("seed") if not part["stuck"].any()}
    own = tuned.tables["differences"].query("estimand == 'did' and update == 'manifold' and format == 'E7M0'")
    kept = own[own["seed"].isin(free)]["value"]
    assert 0 < oracle["learned_n"] == len(kept) < 8 and oracle["learned_mean"] == pytest.approx(kept.mean())
    shown = {line["format"]: line for line in rows(report.answer_grid(tuned))}
    assert shown["E7M0"]["DiD, none stuck"] == f"{kept.mean():+.4f} (n = {len(kept)})"
    assert shown["E4M3"]["stuck runs"] == "0" and shown["E4M3"]["DiD, none stuck"].startswith(shown["E4M3"]["DiD"])
    nearest = stuck.query("storage == 'nearest' and update == 'adamw'")["stuck"].sum()
    exact = stats.binomtest(int(nearest), 8).proportion_ci(0.95)
    ends = f"[{100 * exact.low:.0f} %, {100 * exact.high:.0f} %]"
    text = "\n".join(certainty.certainty(tuned))
    assert f"Stuck runs: E7M0-adamw-nearest {nearest} of 8 (95% interval {ends})" in text
    assert "Stuck are runs that ended within 1% of the loss of bigrams" in text
    assert "Stuck runs" not in "\n".join(certainty.certainty(changed_cells(tuned, stuck=0)))


def changed_cells(source: Source, **values: float) -> Source:
    return Source(replaced(source.tables, cells=source.tables["cells"].assign(**values)), source.figures)


def test_nothing_is_said_of_context_where_it_is_not_known(source_of: SourceOf) -> None:
    assert words(learned.section(source_of("sweep"))) == "The losses of n-grams were not computed."
    assert {line["stuck runs"] for line in rows(report.answer_grid(source_of("sweep")))} == {"n/a"}


def test_powers_controls_and_knock_outs_are_benefits_with_their_verdicts(tuned: Source) -> None:
    found = mechanism.sections(tuned)
    powers = {line["format"]: line for line in table(section(found, "Power of the metric"))}
    assert list(powers["E7M0"]) == ["format", "manifold (p = 0.5)", "steep (p = 1)"]
    oracle = row(tuned, estimand="benefit", update="steep", layers="all", storage="nearest", format="E7M0")
    entry = f"{oracle['mean']:+.4f} [{oracle['low']:+.4f}, {oracle['high']:+.4f}] hurts"
    assert powers["E7M0"]["steep (p = 1)"] == entry
    controls = {line["format"]: line for line in table(section(found, "Controls"))}
    assert list(controls["E4M3"]) == ["format", "manifold, nearest", "permuted, nearest"]
    assert controls["E4M3"]["manifold, nearest"].endswith("helps")
    oracle = row(tuned, estimand="benefit", update="permuted", layers="all", storage="nearest", format="E7M0")
    assert oracle["verdict"] == "no difference shown"
    assert (
        controls["E7M0"]["permuted, nearest"] == f"{oracle['mean']:+.4f} [{oracle['low']:+.4f}, {oracle['high']:+.4f}]"
    )
    storages = section(found, "Storages that lose no update")
    shown = [storage for storage in STORAGES if storage in ("nearest", "master", "stochastic")]
    assert list(table(storages)[0]) == ["format", *shown]
    assert "This study has no runs of both updates under eco." in words(storages)


def test_certainty_says_what_the_best_rates_of_tuning_would_change(tuned: Source) -> None:
    assert "Frozen rates" not in " ".join(certainty.certainty(tuned))  # the frozen rates are the best there
    trials = tuned.tables["trials"]
    mine = (trials["format"] == "E7M0") & (trials["update"] == "adamw") & (trials["layers"] == "all")
    frozen = mine & (trials["storage"] == "nearest") & trials["chosen"]
    source = Source(replaced(tuned.tables, trials=trials.assign(score=trials["score"] + 0.5 * frozen)), tuned.figures)
    key = ("E7M0", "adamw", "nearest", "all")
    score = source.tables["trials"][mine & (trials["storage"] == "nearest")].groupby("lr")["score"].mean()
    regret = source.tuned_score(key) - score.min()
    assert 0 < regret < 0.5 and source.tuning_regret(key) == pytest.approx(regret)
    did = row(tuned, **PRIMARY, format="E7M0")["mean"]
    (said,) = (text for text in certainty.certainty(source) if text.startswith("Frozen rates"))
    assert f"differences would come to E7M0 {did - regret:+.4f}." in said


def test_controls_with_masters_stand_beside_those_under_nearest(tuned: Source) -> None:
    comparisons = tuned.tables["comparisons"]
    permuted = (comparisons["update"] == "permuted") & (comparisons["storage"] == "nearest")
    masters = comparisons[permuted].assign(storage="master", mean=0.125)
    both = replaced(tuned.tables, comparisons=pd.concat([comparisons, masters], ignore_index=True))
    controls = table(section(mechanism.sections(Source(both, tuned.figures)), "Controls"))
    arms = ("manifold, nearest", "permuted, nearest", "manifold, master", "permuted, master")
    assert list(controls[0]) == ["format", *arms]
    assert {line["permuted, master"].split()[0] for line in controls} == {"+0.1250"}
    oracle = row(tuned, estimand="benefit", update="manifold", layers="all", storage="master", format="E7M0")
    assert controls[-1]["manifold, master"].startswith(f"{oracle['mean']:+.4f}")


def test_what_moves_with_the_benefit_inside_a_format_is_said(tuned: Source) -> None:
    cells = tuned.tables["mechanism"]
    nearest = (cells["storage"] == "nearest") & (cells["layers"] == "all")
    wide = cells[nearest].pivot(index="format", columns="update", values=["edq", "stall_ratio"])
    stalls = wide["stall_ratio"]["manifold"] < wide["stall_ratio"]["adamw"]
    assert stalls[["E4M3", "E7M0"]].all()
    mine = nearest & (cells["update"] == "manifold")
    edq = cells["edq"].mask(mine & (cells["format"] == "E4M3"), -1.0).mask(mine & (cells["format"] == "E7M0"), 2.0)
    source = Source(replaced(tuned.tables, mechanism=cells.assign(edq=edq)), tuned.figures)
    text = words(section(mechanism.sections(source), "What goes with the loss across cells"))
    assert "its descent quality is higher than adamw's in E7M0 of E4M3 and E7M0" in text
    assert "its stall ratio is lower than adamw's in E4M3 and E7M0 of E4M3 and E7M0." in text


def test_what_was_not_varied_is_said(source_of: SourceOf) -> None:
    found = mechanism.sections(source_of("sweep"))
    assert words(section(found, "Power of the metric")) == "The power p of the metric was not varied in this study."
    assert words(section(found, "Controls")).startswith("This study has no control updates")
    assert "is not tested. This study has no runs of both updates under stochastic and eco." in words(
        section(found, "Storages that lose no update")
    )


def test_correlations_are_read_no_further_than_they_go(tuned: Source) -> None:
    tests = tuned.tables["mechanism_tests"].head(4)
    tests = tests.assign(rho=[-0.9, 0.9, 0.1, math.nan], p=[0.01, 0.05, 0.051, math.nan], y="gap")
    source = Source(replaced(tuned.tables, mechanism_tests=tests), tuned.figures)
    assert [line["what it says"] for line in rows(mechanism.tests_grid(source))] == [
        "cells with a larger descent quality have a smaller gap to the baseline",
        "cells with a larger stall ratio have a larger gap to the baseline",
        "no relation is shown, at equal stall ratio",
        "nothing: too few cells, or all alike",
    ]
    assert {line["question"] for line in rows(mechanism.tests_grid(tuned))} == set(
        tuned.tables["mechanism_tests"]["test"]
    )


def test_methods_have_corpus_tuning_and_estimands(tuned: Source) -> None:
    found = {line["what"]: line["how"] for line in table(methods.section(tuned))}
    assert "licence CC-BY-4.0" in found["corpus"] and "fingerprint ffffffffffffffff. Made-up laws." in found["corpus"]
    assert tuned.info.tuning and found["learning rate"].startswith(tuned.info.tuning)
    assert "to the power 1/2" in found["update"] and "eco" not in found["weights"]
    assert "The second term takes out" in found["difference in differences (DiD)"]


def test_changes_after_the_fact_are_said(tuned: Source) -> None:
    assert "after results were seen" not in words(threats.section(tuned)) + words(hypotheses.section(tuned))
    info = replace(tuned.info, deviations=("The cap was raised.",))
    source = Source(replaced(tuned.tables, study=to_frame(info)), tuned.figures)
    assert words(threats.section(source)).startswith("Changed after results were seen: The cap was raised.")
    assert "The study was changed after results were seen" in words(hypotheses.section(source))


def test_threats_are_those_of_the_study(tuned: Source, source_of: SourceOf, tmp_path: Path) -> None:
    found = words(threats.section(tuned))
    assert "Few seeds: 8 at the most." in found and "on a CPU." in found
    assert "Under stochastic rounding, arms of a seed draw the same numbers for the same places" in found
    assert "were chosen by 3 seeds each" in found
    for absent in ("missing", "edge", "on the seeds that are reported", "not made alike", "elsewhere"):
        assert absent not in found, absent
    sweep = words(threats.section(source_of("sweep")))
    assert "Learning rates of 8 cells were chosen on the seeds that are reported." in sweep
    assert "1 cell ran at a single learning rate" in sweep and "stochastic" not in sweep
    assert "27 of 27 planned runs are missing" in words(threats.section(source_of("empty")))
    runs = tuned.tables["runs"].copy()
    runs.loc[0, "device"] = "cuda (Test GPU)"
    mixed = words(threats.section(Source(replaced(tuned.tables, runs=runs), tuned.figures)))
    assert "they differ in devices (cuda (Test GPU), cpu (Test CPU))." in mixed and "on a CPU" not in mixed
    cast = make_study(quantization={"input": "same", "grad_output": "same"}, seeds=[1])
    source = Source(Pipeline(tmp_path)(cast, lambda run: 2.0), tuned.figures)
    assert "Only weights" not in words(threats.section(source))
    assert "Only weights are in the format" in found
