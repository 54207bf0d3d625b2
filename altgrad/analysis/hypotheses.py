"""The study's hypotheses, each judged by what was predicted beforehand and by nothing else."""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from altgrad.analysis.cells import Key
from altgrad.analysis.comparisons import Comparison
from altgrad.analysis.estimates import Estimate, estimate
from altgrad.analysis.study_info import StudyInfo
from altgrad.analysis.tables import Row, frame
from altgrad.analysis.verdicts import lacking
from altgrad.study.hypotheses import Cells, Hypothesis

SUPPORTED, REFUTED, UNDECIDED, NOT_RUN = "supported", "refuted", "undecided", "not run"

Found = Mapping[tuple[str, Key], Mapping[int, float]]
"""Paired differences by seed, by estimand and cell."""


@dataclass(frozen=True)
class Judged:
    """What became of a prediction in one format.

    Attributes:
        name: The format.
        estimate: What the prediction is about.
        verdict: supported, refuted or undecided.
    """

    name: str
    estimate: Estimate
    verdict: str


def plan_table(hypotheses: Sequence[Hypothesis], file: str, sha256: str) -> pd.DataFrame:
    """Return the hypotheses as they stand in their file."""
    rows: list[Row] = [
        {"id": h.id, "claim": h.claim, "spec": h.model_dump_json(), "file": file, "sha256": sha256} for h in hypotheses
    ]
    return frame("plan", rows)


def hypotheses_table(plan: pd.DataFrame, compared: Sequence[Comparison], info: StudyInfo) -> pd.DataFrame:
    """Return each hypothesis with its prediction, its result and its verdict.

    Args:
        plan: The plan table.
        compared: Every comparison.
        info: The study.
    """
    found: Found = {(c.estimand, c.cell): c.differences for c in compared}
    specs = [Hypothesis.model_validate(json.loads(spec)) for spec in plan["spec"]]
    return frame("hypotheses", [_row(h, found, info) for h in specs])


def _row(h: Hypothesis, found: Found, info: StudyInfo) -> Row:
    per_format = [_differences(h, name, found) for name in h.of.formats]
    estimates = [estimate(list(values.values()), info.confidence) for values in per_format]
    n = min(e.n for e in estimates)
    if not n:
        result, verdict = "its runs are not there", NOT_RUN
    else:
        judged = [
            Judged(f, e, _judge(h, e) if _has_sense(h, f, found, info) else UNDECIDED)
            for f, e in zip(h.of.formats, estimates, strict=True)
        ]
        too_small = lacking(n, info)
        result = "; ".join(_words(j, with_verdict=not too_small and h.test != "rising") for j in judged)
        verdict = too_small or _overall(h, judged, per_format, info)
    return {
        "id": h.id,
        "claim": h.claim,
        "prediction": _prediction(h),
        "result": result,
        "verdict": verdict,
        "n": n,
    }


def _has_sense(h: Hypothesis, name: str, found: Found, info: StudyInfo) -> bool:
    """Return whether there is something of which a share can be left: `smaller` asks for it."""
    if h.than is None:
        return True
    whole = estimate(list(found.get(_key(h.than, name), {}).values()), info.confidence)
    return whole.low > 0


def _differences(h: Hypothesis, name: str, found: Found) -> Mapping[int, float]:
    """Return the values that a prediction is about, by seed, in one format; none where its runs are not there."""
    own = found.get(_key(h.of, name), {})
    if h.than is None:
        return own
    other = found.get(_key(h.than, name), {})
    return {seed: own[seed] - h.bound * other[seed] for seed in own.keys() & other.keys()}


def _key(cells: Cells, name: str) -> tuple[str, Key]:
    return cells.estimand, (name, cells.update, cells.storage, cells.layers)


def _judge(h: Hypothesis, e: Estimate) -> str:
    """Return what one format's interval says of the prediction."""
    if h.test == "identical":
        return SUPPORTED if e.mean == 0 and (e.n < 2 or e.sd == 0) else REFUTED
    if math.isnan(e.low):
        return UNDECIDED
    bound = 0.0 if h.test == "smaller" else h.bound
    holds = {
        "within": (-bound <= e.low and e.high <= bound, e.low > bound or e.high < -bound),
        "above": (e.low > bound, e.high <= bound),
        "below": (e.high < bound, e.low >= bound),
        "smaller": (e.high < 0, e.low >= 0),
        "rising": (True, False),
    }[h.test]
    return SUPPORTED if holds[0] else REFUTED if holds[1] else UNDECIDED


def _overall(h: Hypothesis, judged: Sequence[Judged], values: Sequence[Mapping[int, float]], info: StudyInfo) -> str:
    """Return the verdict on the whole claim: refuted by one format, supported by all."""
    if h.test == "rising":
        return _rising(values, info)
    verdicts = {j.verdict for j in judged}
    return REFUTED if REFUTED in verdicts else SUPPORTED if verdicts == {SUPPORTED} else UNDECIDED


def _rising(values: Sequence[Mapping[int, float]], info: StudyInfo) -> str:
    def step(low: Mapping[int, float], high: Mapping[int, float]) -> Estimate:
        shared = sorted(low.keys() & high.keys())
        return estimate([high[seed] - low[seed] for seed in shared], info.confidence)

    steps = [step(a, b) for a, b in itertools.pairwise(values)]
    if any(e.high < 0 for e in steps):
        return REFUTED
    rises = all(e.mean >= 0 for e in steps) and step(values[0], values[-1]).low > 0
    return SUPPORTED if rises else UNDECIDED


def _prediction(h: Hypothesis) -> str:
    what = f"{h.of.estimand} of {h.of.update}, {h.of.storage}"
    where = "" if h.of.layers == "all" else f", {h.of.layers} alone"
    names = ", ".join(h.of.formats)
    statement = {
        "within": f"lies within ±{h.bound:g} nats",
        "above": f"is above {h.bound:g} nats",
        "below": f"is below {h.bound:g} nats",
        "identical": "is 0 for every seed",
        "rising": "rises in this order of formats",
        "smaller": "" if h.than is None else f"is below {h.bound:g} of that of {h.than.update}, {h.than.storage}",
    }[h.test]
    return f"{what}{where} {statement}: {names}"


def _words(judged: Judged, with_verdict: bool) -> str:
    """Return one format's estimate, with its verdict if that is wanted."""
    e = judged.estimate
    ends = "" if math.isnan(e.low) else f" [{e.low:+.4f}, {e.high:+.4f}]"
    return f"{judged.name} {e.mean:+.4f}{ends}{f' ({judged.verdict})' if with_verdict else ''}"
