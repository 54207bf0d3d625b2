"""What quantization does to gradients: cosine and signal to noise against FP32 over the run (METR-05, GRAD-02)."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Tables
from altgrad.figures.curves import layer_curves, layer_legend, layer_types, studied
from altgrad.figures.panels import STORAGES, format_rows, fullest, label_first, say_empty
from altgrad.figures.style import Encoding, FigureSpec, empty_figure, in_order, seeds_words

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
    formats, kinds = in_order(bands["format"], encoding.formats), layer_types(tables, bands)
    storages = in_order(bands["storage"], STORAGES)
    columns = [(metric, storage) for metric in METRICS for storage in storages]
    titles = [f"{METRICS[metric]}, {storage}" for metric, storage in columns]
    figure, rows = format_rows(encoding, formats, titles, share_y="col")
    for name, row in zip(formats, rows, strict=True):
        for axes, (metric, storage) in zip(row, columns, strict=True):
            same = (bands["format"] == name) & (bands["metric"] == metric) & (bands["storage"] == storage)
            here = bands[same & np.isfinite(bands["mean"])]
            layer_curves(axes, kinds, here)
            if here.empty:
                say_empty(axes, "no noise" if same.any() else "no runs")
        for number, metric in enumerate(METRICS):
            row[number * len(storages)].set_ylabel(LABELS[metric])
    label_first(rows, len(storages))
    for axes, (metric, _) in zip(rows[0], columns, strict=True):
        _limit(axes, bands.loc[bands["metric"] == metric, ["low", "high"]].to_numpy(float))
    for axes in rows[-1]:
        axes.set_xlabel("step")
    layer_legend(figure, kinds)
    return figure


def caption(tables: Tables) -> str:
    """Say what the gradients are compared with."""
    bands = _bands(tables)
    shown = "".join(f" Shown: {update}." for update in in_order(bands["update"], []))
    return (
        f"Gradients of the quantized model against those of the same weights and batch in FP32, as means over a layer"
        f" type's tensors: the cosine of the angle between them, and 10 log10 of their squared norm over that of their"
        f" difference; 20 dB is an error of a tenth, 0 dB one as large as the gradient. Without noise the ratio is"
        f" infinite, and not drawn. Weights stored in the format are what they are quantized to, so that under nearest"
        f" and stochastic only casts of inputs and gradients can do harm. Look for layer types that lose their"
        f" direction, and for lines that fall.{shown} Each cell is at its own chosen learning rate; lines are means"
        f" over the seeds ({seeds_words(bands['n'])}), shades their range."
    )


def _bands(tables: Tables) -> pd.DataFrame:
    """Return rows of the update that the most formats have, in the first storages, infinite ratios included."""
    bands = studied(tables, "bands")
    bands = bands[bands["metric"].isin(list(METRICS)) & (bands["layer_type"] != ALL)]
    if bands.empty:
        return bands
    bands = bands[bands["storage"].isin(in_order(bands["storage"], STORAGES)[:2])]
    return bands[bands["update"] == fullest(bands, "update", Encoding.of(tables).updates)]


def _limit(axes: "Axes", values: np.ndarray) -> None:
    """Keep every finite value in sight."""
    finite = values[np.isfinite(values)]
    if finite.size:
        pad = 0.08 * (finite.max() - finite.min()) or 0.1
        axes.set_ylim(finite.min() - pad, finite.max() + pad)


FIGURE = FigureSpec("gradient_quality", "Gradients against FP32 over the run", make, caption)
