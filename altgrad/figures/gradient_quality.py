"""What quantization does to gradients: cosine and signal to noise against FP32 over the run (METR-05, GRAD-02)."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Tables
from altgrad.figures.captions import means_words, shown_words
from altgrad.figures.course import course_rows, course_words, metric_course
from altgrad.figures.curves import layer_curves, layer_legend, layer_types, studied
from altgrad.figures.panels import fullest, in_first_storages, keep_in_sight, metric_columns, say_empty
from altgrad.figures.style import Encoding, FigureSpec, empty_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METRICS = {"cosine": "cosine", "snr_db": "signal to noise"}
LABELS = {"cosine": "cosine", "snr_db": "SNR (dB)"}


def make(tables: Tables) -> "Figure":
    """Draw one row a format; cosines left, signal to noise right; one line a layer type, of one update."""
    encoding, bands = Encoding.of(tables), _bands(tables)
    if bands.empty:
        return empty_figure("No run with every layer in a format has compared its gradients with FP32 yet.")
    kinds = layer_types(tables, bands)
    found = metric_course(encoding, bands, metric_columns(METRICS, bands))
    for panel in found.grid:
        here = panel.of(found.data)
        finite = here[np.isfinite(here["mean"])]
        layer_curves(panel.axes, kinds, finite)
        if finite.empty:
            say_empty(panel.axes, "no runs" if here.empty else "no noise")
    for panel in found.grid.by_metric():
        _limit(panel.axes, panel.of(bands)[["low", "high"]].to_numpy(float))
    found.label(*LABELS.values())
    layer_legend(found.grid.figure, kinds)
    return found.grid.figure


def caption(tables: Tables) -> str:
    """Say what the gradients are compared with."""
    bands = _bands(tables)
    return (
        f"Gradients of the quantized model against those of the same weights and batch in FP32, as means over a layer"
        f" type's tensors: the cosine of the angle between them, and 10 log10 of their squared norm over that of their"
        f" difference; 20 dB is an error of a tenth, 0 dB one as large as the gradient. Without noise the ratio is"
        f" infinite, and not drawn. Weights stored in the format are what they are quantized to, so that under nearest"
        f" and stochastic only casts of inputs and gradients can do harm. Look for layer types that lose their"
        f" direction, and for lines that fall.{shown_words(bands, 'update')}"
        f" {means_words(bands['n'])}, shades their range.{course_words(bands)}"
    )


def _bands(tables: Tables) -> pd.DataFrame:
    """Return rows of the update that the most formats have, in the first storages, infinite ratios included."""
    bands = studied(tables, "bands", METRICS)
    bands = in_first_storages(bands[bands["layer_type"] != ALL])
    if bands.empty:
        return bands
    return course_rows(bands[bands["update"] == fullest(bands, "update", Encoding.of(tables).updates)])


def _limit(axes: "Axes", values: np.ndarray) -> None:
    """Keep every finite value in sight."""
    finite = values[np.isfinite(values)]
    if finite.size:
        keep_in_sight(axes, finite.min(), finite.max())


FIGURE = FigureSpec("gradient_quality", "Gradients against FP32 over the run", make, caption)
