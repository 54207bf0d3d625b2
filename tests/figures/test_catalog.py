"""Every figure of the catalog, over every kind of study: drawn, the same twice, readable, and said what it shows."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib import rc_context
from matplotlib.image import imread

from altgrad.errors import ReportError
from altgrad.figures.catalog import FIGURES, find_figure
from altgrad.figures.style import RC, WIDTH_IN, draw, save
from tests.figures.conftest import Studies

# A new figure is a row here: what it says where there is nothing to draw, and a word of its caption.
WORDS = {
    "loss_curves": ("No run with every layer in a format has a loss yet.", "baseline"),
    "did_forest": ("No geometry-aware update has runs under nearest and under master", "inverted sign-flip intervals"),
    "benefit_by_geometry": ("No geometry-aware update has an AdamW run", "0 is a uniform grid"),
    "benefit": ("No geometry-aware update has an AdamW run", "95% t intervals"),
    "loss_by_format": ("No run with every layer in a format has ended yet.", "95% t interval"),
    "stall_and_flips": (
        "No run with every layer in a format has counted flips yet.",
        "Under nearest the update is lost",
    ),
    "edq": ("No run with every layer in a format has summed up what its updates intended yet.", "fall away from 1"),
    "ulp_histograms": (
        "No run with every layer in a format has probed its intended updates yet.",
        "at half an ulp, rounding to nearest loses an update",
    ),
    "layer_heatmap": ("No run has counted anything by layer type yet.", "low is good"),
    "lr_basins": ("Every cell was run at one learning rate only", "Shades are basins"),
    "mechanism": ("No run whose weights stand on the grid has a baseline", "No correlation is proof of a cause"),
    "update_collapse": ("No cell's learning rate was tuned", "over each other at the right"),
    "stiffness_field": (
        "No run with every layer in a format has probed the grid's spacing at its weights yet.",
        "Look for bands that climb",
    ),
    "grid_alignment": (
        "No run with every layer in a format has probed where its weights lie on the grid yet.",
        "0.25 is where weights lie anywhere",
    ),
    "capacity": (
        "No run with every layer in a format has probed which codes its weights use yet.",
        "of 8 bits in an 8-bit format",
    ),
    "gradient_quality": (
        "No run with every layer in a format has compared its gradients with FP32 yet.",
        "20 dB is an error of a tenth",
    ),
    "rank_trends": (
        "No run with every layer in a format has probed the ranks of its weights yet.",
        "No weight's trend warned of collapse",
    ),
    "hessian_density": (
        "No run with every layer in a format has probed the Hessian of its loss yet.",
        "its integral is 1",
    ),
}


def test_every_figure_has_a_row() -> None:
    assert set(WORDS) == set(FIGURES)


@pytest.mark.parametrize("name", WORDS)
def test_without_runs_the_figure_says_so(studies: Studies, name: str) -> None:
    with rc_context(RC):
        figure = FIGURES[name].make(studies("empty"))
    assert figure.texts[0].get_text().startswith(WORDS[name][0])
    assert not figure.axes


@pytest.mark.parametrize("study", ["layers", "all diverged", "reference", "tuned"])
@pytest.mark.parametrize("name", WORDS)
def test_every_figure_can_be_made_of_every_study(studies: Studies, name: str, study: str) -> None:
    with rc_context(RC):
        figure = FIGURES[name].make(studies(study))
    assert figure.axes or figure.texts


@pytest.mark.parametrize("study", ["sweep", "one seed", "tuned"])
@pytest.mark.parametrize("name", WORDS)
def test_no_text_leaves_the_page(studies: Studies, name: str, study: str) -> None:
    with rc_context(RC):
        figure = FIGURES[name].make(studies(study))
        figure.canvas.draw()
        width, height = figure.get_size_inches() * figure.dpi
        assert figure.get_size_inches()[0] == WIDTH_IN
        for axes in figure.axes:
            for text in [*axes.texts, axes.title, axes.xaxis.label, axes.yaxis.label]:
                if text.get_visible() and text.get_text():
                    box = text.get_window_extent()
                    assert box.x0 >= -1 and box.x1 <= width + 1 and box.y0 >= -1 and box.y1 <= height + 1, text


@pytest.mark.parametrize("name", WORDS)
def test_captions_say_how_many_seeds(studies: Studies, name: str) -> None:
    caption = FIGURES[name].caption(studies("tuned"))
    assert WORDS[name][1] in caption and "n = 3 seeds" in caption
    assert caption.endswith(".") and "\n" not in caption


def test_the_same_tables_give_the_same_bytes(studies: Studies, tmp_path: Path) -> None:
    tables = studies("sweep")
    spec = FIGURES["benefit"]
    assert draw(spec, tables) == draw(spec, tables)
    save(spec, tables, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["benefit.png", "benefit.svg"]
    svg = (tmp_path / "benefit.svg").read_text()
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert "dc:date" not in svg and "matplotlib.org" not in svg.split("<svg")[0]
    assert imread(tmp_path / "benefit.png").shape[1] == WIDTH_IN * RC["savefig.dpi"]


def test_an_unknown_figure_offers_the_nearest() -> None:
    with pytest.raises(ReportError, match="figure: 'los_curves' is not a figure; nearest: loss_curves"):
        find_figure("los_curves")
