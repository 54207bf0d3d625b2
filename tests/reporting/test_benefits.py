"""What the report on benefits says of a tuned study: tests, probabilities, recoveries, and learning rates."""

import math

from altgrad.reporting import manifold_vs_standard, sweet_spot
from altgrad.reporting.caveats import caveats
from altgrad.reporting.document import Grid, Paragraph
from altgrad.reporting.source import Source
from tests.figures.conftest import replaced
from tests.reporting.conftest import SourceOf, rows


def test_tests_probability_and_recovery_stand_beside_each_benefit(tuned: Source) -> None:
    key = ["update", "storage", "layers", "format"]
    best = tuned.tables["best"].query("estimand == 'benefit'").set_index(key)["probability"]
    recovered = tuned.tables["recoveries"].set_index(key)
    oracle = tuned.tables["comparisons"].query("estimand == 'benefit'").set_index(key)
    found = rows(manifold_vs_standard.benefits_grid(tuned))
    assert len(found) == 10
    for line in found:
        place = (line["update"], line["storage"], "all", line["format"])
        row = oracle.loc[place]
        assert line["sign-flip interval"] == f"[{row['flip_low']:+.4f}, {row['flip_high']:+.4f}]"
        assert line["p (sign flip)"] == f"{row['p_sign_flip']:.4f}" and line["p (Holm)"] == f"{row['p_holm']:.4f}"
        assert math.isclose(float(line["best"].rstrip(" %")), 100 * best[place], rel_tol=0.01)
        share = f"{100 * recovered.loc[place, 'share']:.0f} %" if place in recovered.index else "n/a"
        assert line["recovered"].startswith(share)
    none = Source(replaced(tuned.tables, recoveries=tuned.tables["recoveries"].iloc[:0]), tuned.figures)
    assert {line["recovered"] for line in rows(manifold_vs_standard.benefits_grid(none))} == {"n/a"}


def test_learning_rates_have_their_basin_and_a_bound_where_it_is_one(tuned: Source) -> None:
    found = {(r["format"], r["storage"], r["update"]): r for r in rows(manifold_vs_standard.cells_grid(tuned))}
    line = found["E7M0", "nearest", "manifold"]
    choice = tuned.tuning["E7M0", "manifold", "nearest", "all"]
    assert line["lr"] == f"{choice['lr']:g}" and line["chosen"] == "tuned, 7 tried"
    assert line["basin (octaves)"] == f"1 ({choice['basin_low_lr']:g} to {choice['basin_high_lr']:g})"
    assert line["stable up to"] == f"{choice['largest_stable_lr']:g}"
    assert (line["diverged"], line["interval"]) == ("0", "[0 %, 37 %]")
    tuning = tuned.tables["tuning"]
    bound = tuning.assign(
        stable_at_edge=tuning["format"] == "E7M0",
        largest_stable_lr=tuning["largest_stable_lr"].where(tuning["format"] != "E4M3"),
    )
    source = Source(replaced(tuned.tables, tuning=bound), tuned.figures)
    stable = {r["format"]: r["stable up to"] for r in rows(manifold_vs_standard.cells_grid(source))}
    assert stable["E7M0"].startswith("≥ ") and stable["E4M3"] == "none" and not stable["BF16"].startswith("≥")


def test_untuned_cells_have_no_basin(source_of: SourceOf) -> None:
    found = rows(manifold_vs_standard.cells_grid(source_of("sweep")))
    assert {(r["basin (octaves)"], r["stable up to"]) for r in found} == {("n/a", "n/a")}
    assert {r["chosen"] for r in found} == {"best of 3, same seeds", "the only one"}


def test_a_tuned_study_does_not_call_its_losses_optimistic(tuned: Source) -> None:
    assert caveats(tuned)[0] == "Each cell's learning rate was tuned on seeds that are not among those reported."
    cells = tuned.tables["cells"]
    mixed = cells.assign(tuned=cells["storage"] != "master", lrs=cells["lrs"].where(cells["storage"] != "master", 2))
    text = caveats(Source(replaced(tuned.tables, cells=mixed), tuned.figures))[0]
    assert text.startswith("In 16 of 21 cells the learning rate was tuned") and "In 5 of 21 cells the learning" in text


def test_the_role_of_an_update_tells_controls_from_geometry(tuned: Source) -> None:
    roles = {line["update"]: line["role"] for line in rows(manifold_vs_standard.updates_grid(tuned))}
    assert roles == {
        "adamw": "standard",
        "manifold": "geometry-aware, fixed beforehand",
        "steep": "geometry-aware",
        "permuted": "control",
    }


def test_benefit_by_layer_type_stands_beside_the_best_and_is_told_apart(tuned: Source) -> None:
    found = rows(sweet_spot.benefits_grid(tuned))
    oracle = tuned.tables["comparisons"].query("estimand == 'benefit' and layers == 'mlp'").set_index("format")
    assert [(line["layer type"], line["format"]) for line in found] == [("mlp", "E4M3"), ("mlp", "E7M0")]
    for line in found:
        assert line["benefit"] == f"{oracle.loc[line['format'], 'mean']:+.4f}"
        assert line["verdict"] == oracle.loc[line["format"], "verdict"]
    (section,) = [s for s in sweet_spot._sections(tuned) if s.title == "Benefit by layer type"]
    assert isinstance(section.blocks[0], Paragraph) and "is not the same question" in section.blocks[0].text
    assert "not the question of which format gains most" in sweet_spot.answer(tuned).rest


def test_without_single_layer_runs_there_is_no_benefit_by_layer_type(source_of: SourceOf) -> None:
    found = sweet_spot.benefits_grid(source_of("sweep"))
    assert isinstance(found, Grid) and not found.rows and "no runs of both updates" in found.empty
