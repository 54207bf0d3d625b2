"""Columns, and those that several tables share."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: The column's name.
        dtype: `string`, `int32`, `int64`, `float64` or `bool`.
        unit: The unit, or an empty string for a plain number or a name.
        meaning: One sentence.
    """

    name: str
    dtype: str
    unit: str
    meaning: str


RUN_ID = Column("run_id", "string", "", "The run.")
STEP = Column("step", "int32", "steps", "Optimizer steps done when the row was written.")
BIN = Column("bin", "int32", "", "k: values with floor(log2 value) = k.")
FORMAT = Column("format", "string", "", "The weights' format.")
UPDATE = Column("update", "string", "", "The update rule.")
STORAGE = Column("storage", "string", "", "Where a step lands: master, nearest or stochastic.")
LAYERS = Column("layers", "string", "", "The layers that are in the format.")
CELL = (FORMAT, UPDATE, STORAGE, LAYERS)
LR = Column("lr", "float64", "", "The peak learning rate.")
SEED = Column("seed", "int64", "", "The seed.")
TENSOR = Column("tensor", "string", "", "The parameter's dotted name.")
LAYER_TYPE = Column("layer_type", "string", "", "The tensor's layer type; all is every tensor in the run's format.")
METRIC = Column("metric", "string", "", "The metric's name.")
N = Column("n", "int64", "runs", "How many seeds.")
LOW = Column("low", "float64", "", "The interval's lower end; NaN where the seeds are too few.")
HIGH = Column("high", "float64", "", "The interval's upper end; NaN where the seeds are too few.")


def count(name: str, meaning: str) -> Column:
    """Return a column of counts of elements, added up over steps."""
    return Column(name, "int64", "elements x steps", meaning)


def share(name: str, meaning: str) -> Column:
    """Return a column of shares, from 0 to 1."""
    return Column(name, "float64", "share", meaning)


COUNTS = (
    count("elements", "Elements times steps: the denominator."),
    count("flips", "Elements whose rung of q(W) changed at the step's scale (FLIP-01)."),
    count("flips_among_updated", "Flips of elements with a nonzero gradient."),
    count("updates", "Elements with a nonzero gradient (UPDT-01)."),
    count("stall", "Elements with a nonzero gradient whose rung did not change (STAB-04)."),
    count("zero_update", "Elements whose stored weight did not change (GRAD-04)."),
    count("rescale_moves", "Elements that a changed scale moved; no flips."),
    count("overflow", "Weights beyond scale * max before clamping (STAB-01, forward)."),
    count("underflow", "Nonzero weights that round to 0 (STAB-01, forward)."),
    count("update_underflow", "Nonzero intended updates that did not move the stored weight (STAB-01, optimizer)."),
    count("clip_elements", "Gradient elements under partition-relative clipping; 0 where it is off."),
    count("clipped", "Of these, elements that it held (STAB-05)."),
    count("input_elements", "Elements of layers' inputs that were cast; 0 where inputs are not."),
    count("input_overflow", "Of these, beyond scale * max before clamping (STAB-01, forward)."),
    count("input_underflow", "Of these, nonzero ones that round to 0 (STAB-01, forward)."),
    count("grad_output_elements", "Elements of layers' output gradients that were cast; 0 where they are not."),
    count("grad_output_overflow", "Of these, beyond scale * max before clamping (STAB-01, backward)."),
    count("grad_output_underflow", "Of these, nonzero ones that round to 0 (STAB-01, backward)."),
)
SUMS = (
    Column("intended_sq", "float64", "", "Sum of squares of intended updates, u - w_old; NaN where not summed."),
    Column("realised_dot", "float64", "", "Sum of intended times realised updates, q(w_new) - q(w_old); likewise."),
)
RATES = (
    share("flip_rate", "flips / elements (FLIP-02)."),
    share("stall_ratio", "1 - flips_among_updated / updates, in [0, 1] (UPDT-02)."),
    share("zero_update_rate", "zero_update / elements (GRAD-04)."),
    share("overflow_rate", "overflow / elements."),
    share("underflow_rate", "underflow / elements."),
    share("update_underflow_rate", "update_underflow / elements."),
    Column("edq", "float64", "", "realised_dot / intended_sq, the effective descent quality; 1: all of it (EDQ)."),
    share("clip_rate", "clipped / clip_elements (STAB-05)."),
    share("input_overflow_rate", "input_overflow / input_elements."),
    share("input_underflow_rate", "input_underflow / input_elements."),
    share("grad_output_overflow_rate", "grad_output_overflow / grad_output_elements."),
    share("grad_output_underflow_rate", "grad_output_underflow / grad_output_elements."),
)
