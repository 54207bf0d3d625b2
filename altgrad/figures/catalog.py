"""Every figure of a study by name. A new figure is a file and a line here."""

import difflib

from altgrad.errors import ReportError
from altgrad.figures import (
    benefit,
    benefit_by_geometry,
    capacity,
    did_forest,
    edq,
    gradient_quality,
    grid_alignment,
    hessian_density,
    layer_heatmap,
    loss_by_format,
    loss_curves,
    lr_basins,
    mechanism,
    rank_trends,
    stall_and_flips,
    stiffness_field,
    ulp_histograms,
    update_collapse,
)
from altgrad.figures.style import FigureSpec

FIGURES: dict[str, FigureSpec] = {
    module.FIGURE.name: module.FIGURE
    for module in (
        did_forest,
        benefit,
        benefit_by_geometry,
        loss_by_format,
        loss_curves,
        lr_basins,
        mechanism,
        update_collapse,
        layer_heatmap,
        stall_and_flips,
        edq,
        ulp_histograms,
        stiffness_field,
        grid_alignment,
        capacity,
        gradient_quality,
        rank_trends,
        hessian_density,
    )
}


def find_figure(name: str) -> FigureSpec:
    """Return the figure of a name.

    Raises:
        ReportError: There is none; the nearest names are offered.
    """
    if name not in FIGURES:
        near = difflib.get_close_matches(name, FIGURES, n=3, cutoff=0.0)
        raise ReportError("figure", f"{name!r} is not a figure; nearest: {', '.join(near)}", "Use one of these names")
    return FIGURES[name]
