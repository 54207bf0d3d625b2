"""Geometry-aware against standard updates: every benefit, with its tests, and the cells that it is made of."""

from altgrad.analysis.cells import Key, cell_key
from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Row, records
from altgrad.analysis.verdicts import NO_VERDICT
from altgrad.figures.style import in_order
from altgrad.reporting.document import Answer, Paragraph, Report, Section
from altgrad.reporting.evidence_links import cell_target, estimated, family_links
from altgrad.reporting.page import make_report
from altgrad.reporting.source import STORAGES, Source
from altgrad.reporting.stuck import STUCK
from altgrad.reporting.tally import PLACES, tally, too_small
from altgrad.reporting.text import (
    NOT_AVAILABLE,
    Cell,
    Grid,
    at_least,
    count,
    grid,
    interval,
    learning_rate,
    linked,
    nats,
    p_value,
    rate,
    rate_interval,
    share,
    word,
)

TESTS = ("verdict", "t interval", "sign-flip interval", "n", "p (sign flip)", "p (Holm)")
"""Columns of what may be said of an estimate, and of what it is tested by."""

NAN = float("nan")

RECOVERED = (
    "Recovered is the share of adamw's gap to the baseline that the update closes, with Fieller's interval; it is"
    " given only where that gap's own interval lies above 0. The baseline has adamw alone: a share above 100 % goes"
    " beyond it, by what the update gains anywhere."
)

DID = (
    "The benefit under nearest rounding minus the benefit with FP32 masters: what is left once a merely better"
    " optimizer is taken out."
)

RATES = (
    "A tuned learning rate was chosen on seeds that are not among these. Stable up to is the largest rate up to"
    " which no trial diverged and every trial learned; ≥ stands where it is the largest that was tried, so that the"
    " true one may be higher. The basin is the range around the chosen rate with a loss within 1 % of its loss. The"
    f" interval of the divergence rate is exact (Clopper and Pearson). In tuning is the mean loss of the trials at the"
    f" chosen rate: the rate was chosen for it, so that it is a little too good. {STUCK}"
)


def build(source: Source) -> Report:
    """Return the content of the report."""
    return make_report(source, "Geometry-aware against standard updates", answer(source), _sections(source))


def answer(source: Source) -> Answer:
    """Return, in plain words, which formats the geometry-aware updates help and which they hurt."""
    rows = [row for estimand in ("benefit", "did") for row in source.estimates(estimand)]
    if not rows:
        return Answer("No geometry-aware update was run beside adamw, so there is nothing to compare.")
    found = in_order((row["update"] for row in rows), source.encoding.updates)
    named = [name for name in found if name == source.primary]
    lacking = "" if named else "The update that was fixed beforehand (metric power 1/2) is not in this study. "
    lead, *rest = [
        sentence
        for name in named or found
        for sentence in _update_sentences(source, [row for row in rows if row["update"] == name], name)
    ]
    told = named or found
    return Answer(lacking + lead, " ".join(rest), family_links(row for row in rows if row["update"] in told))


def _update_sentences(source: Source, rows: list[Row], update: str) -> list[str]:
    """Return a sentence for each storage, or one that says that there is no verdict."""
    if all(row["verdict"] in NO_VERDICT for row in rows):
        return [f"No verdict on {update} against adamw: {too_small(source, rows)}."]
    storages = in_order((row["storage"] for row in rows), STORAGES)
    found = [
        f"{PLACES[storage]}, {tally(source, [row for row in rows if row['storage'] == storage], sizes=True)}."
        for storage in storages
    ]
    head = f"{update} against adamw, each at its own chosen learning rate, in nats: "
    return [head + found[0], *(f"{sentence[0].upper()}{sentence[1:]}" for sentence in found[1:])]


def _sections(source: Source) -> list[Section]:
    info, figure = source.info, source.figure
    how = (
        f"Benefit is the validation loss of adamw minus that of the update, in nats, paired by seed; positive helps."
        f" Both stand at their own chosen learning rate. Intervals are {info.confidence:.0%} intervals, not corrected"
        f" for the number of formats: the t interval, and the inverted sign-flip test, which asks for symmetry alone. p"
        f" is that of the sign-flip test; Holm's correction is over the formats. Best is the share of bootstrap samples"
        f" in which the format's benefit is the largest, a statement about the seeds that were run. Fewer than"
        f" {info.min_seeds} paired seeds, or runs of fewer than {info.min_steps} steps, give no verdict."
    )
    return [
        Section(
            "Benefit, by storage and format",
            (Paragraph(how), benefits_grid(source), Paragraph(RECOVERED), figure("benefit")),
        ),
        Section("Difference in differences", (Paragraph(DID), dids_grid(source))),
        Section(
            "Cells: losses, divergence and learning rates", (Paragraph(RATES), cells_grid(source), figure("lr_basins"))
        ),
        Section(
            "Gap to the baseline",
            (
                Paragraph("The cell's loss minus the baseline's, paired by seed; positive is worse than the baseline."),
                gaps_grid(source),
                figure("loss_curves"),
                figure("loss_by_format"),
            ),
        ),
        Section("Updates", (updates_grid(source),)),
    ]


def benefits_grid(source: Source, layers: str = ALL) -> Grid:
    """Return every benefit with its tests, and what of the gap to the baseline it closes."""
    columns = ("format", "storage", "update", "benefit", *TESTS, "best", "recovered")
    rows = [
        (
            *_place(row),
            *_tested(row),
            probability(source, row),
            _recovered(source, cell_key(row)),
        )
        for row in source.estimates("benefit", layers=layers)
    ]
    return grid(columns, rows, "No geometry-aware update has an adamw run beside it.")


def dids_grid(source: Source) -> Grid:
    """Return the differences in differences."""
    rows = [
        (word(row["format"]), word(row["update"]), *_tested(row), probability(source, row))
        for row in source.estimates("did")
    ]
    columns = ("format", "update", "DiD", *TESTS, "best")
    return grid(columns, rows, "No update was run both under nearest rounding and with masters.")


def cells_grid(source: Source) -> Grid:
    """Return every cell with every layer in its format: its loss, its divergence and its learning rate."""
    columns = (
        "format",
        "storage",
        "update",
        "loss",
        "n",
        "diverged",
        "interval",
        "stuck",
        "lr",
        "in tuning",
        "chosen",
        "basin (octaves)",
        "stable up to",
    )
    cells = source.tables["cells"]
    rows = [
        (
            *_place(cell),
            linked(nats(cell["mean"]), cell_target(cell_key(cell))),
            count(cell["n"]),
            count(cell["diverged"]),
            rate_interval(cell["diverged_low"], cell["diverged_high"]),
            count(cell["stuck"]),
            learning_rate(cell["lr"], source.at_edge(cell_key(cell))),
            nats(source.tuned_score(cell_key(cell)) if cell["tuned"] else NAN),
            word(_chosen_by(cell)),
            *_tuned(source.tuning.get(cell_key(cell)) if cell["tuned"] else None),
        )
        for cell in source.ordered(cells[cells["chosen"] & (cells["layers"] == ALL)])
    ]
    return grid(columns, rows, "No run has ended.")


def gaps_grid(source: Source) -> Grid:
    """Return the gaps to the baseline."""
    rows = [(*_place(row), *_tested(row)) for row in source.estimates("gap")]
    columns = ("format", "storage", "update", "gap", *TESTS)
    return grid(columns, rows, "There is no baseline run to compare with.")


def updates_grid(source: Source) -> Grid:
    """Return what each update is."""
    columns = ("update", "optimizer", "metric", "metric power", "acts on", "role")
    rows = [
        (
            *(word(row[name]) for name in ("update", "optimizer", "metric")),
            word(f"{row['metric_power']:g}"),
            word(row["precondition"]),
            word(role(row)),
        )
        for row in records(source.tables["updates"])
    ]
    return grid(columns, rows, "No update occurs.")


def role(update: Row) -> str:
    """Return what an update is compared as."""
    if not update["geometry_aware"]:
        return "standard"
    if update["metric"] != "ulp":
        return "control"
    return "geometry-aware, fixed beforehand" if update["primary"] else "geometry-aware"


def probability(source: Source, row: Row) -> Cell:
    """Return how often the format of a row of the comparisons table is the best of its family."""
    best = source.best.get((row["estimand"], cell_key(row)))
    return rate(NAN if best is None else best["probability"])


def _place(row: Row) -> tuple[Cell, ...]:
    return word(row["format"]), word(row["storage"]), word(row["update"])


def _tested(row: Row) -> tuple[Cell, ...]:
    """Return the cells of an estimate and of `TESTS`."""
    return (
        estimated(row),
        word(row["verdict"]),
        interval(row["low"], row["high"]),
        interval(row["flip_low"], row["flip_high"]),
        count(row["n"]),
        p_value(row["p_sign_flip"]),
        p_value(row["p_holm"]),
    )


def _recovered(source: Source, key: Key) -> Cell:
    found = source.recoveries.get(key)
    return share(NAN, NAN, NAN) if found is None else share(found["share"], found["low"], found["high"])


def _chosen_by(cell: Row) -> str:
    if cell["tuned"]:
        return f"tuned, {cell['lrs']} tried"
    return f"best of {cell['lrs']}, same seeds" if cell["lrs"] > 1 else "the only one"


def _tuned(tuning: Row | None) -> tuple[Cell, ...]:
    """Return the width of a tuned cell's basin, and the largest learning rate that is stable."""
    if tuning is None:
        return learning_rate(NAN), learning_rate(NAN)
    width = f"{tuning['basin_octaves']:g} ({tuning['basin_low_lr']:g} to {tuning['basin_high_lr']:g})"
    stable = at_least(tuning["largest_stable_lr"], tuning["stable_at_edge"])
    return Cell(width, tuning["basin_octaves"]), Cell("none", 0.0) if stable.text == NOT_AVAILABLE else stable
