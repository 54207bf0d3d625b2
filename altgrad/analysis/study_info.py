"""What the reports need to know about the study itself, kept as a table so that they read nothing else."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import pandas as pd

from altgrad.analysis.tables import Row, frame
from altgrad.errors import CorpusError, TableError
from altgrad.study.config import StudyConfig
from altgrad.study.grid import TRAIN_REVISION, planned_runs
from altgrad.study.tuning import CLIFF


@dataclass(frozen=True)
class StudyInfo:
    """A study's identity, scale and corpus.

    Attributes:
        study: Its name.
        title: Its title.
        config_hash: SHA-256 of its whole config.
        revision: The training stage's revision.
        planned_runs: How many runs it asks for, baselines included.
        baseline_format: The baseline's format.
        model: The model's shape, in words.
        steps: Optimizer steps a run.
        tokens_per_run: Training tokens a run.
        confidence: Of every interval.
        min_seeds: Fewer paired seeds give no verdict.
        min_steps: Shorter runs are a demonstration.
        smallest_effect: In nats; what a plan of seeds must show.
        power: The probability of showing it.
        tuning: How learning rates are found, in words; empty where none is tuned.
        deviations: What was changed after results were seen.
        layer_types: The layer types, `all` left out, in the config's order.
        corpus: The corpus's name.
        corpus_source: synthetic, files or eurlex.
        corpus_description: What its text is; empty where the corpus was not given.
        corpus_licence: Its licence.
        corpus_revision: The upstream commit; None where there is none.
        corpus_fingerprint: Its fingerprint; None where the corpus was not given.
        tokenizer: The tokenizer's name.
        train_tokens: Tokens to train on; None where the corpus was not given.
        val_tokens: Tokens held out; None where the corpus was not given.
        unigram_loss: In nats, of counted tokens on the text of evaluation; None where the corpus was not given.
        bigram_loss: Of counted pairs of neighbors, likewise: what can be had without looking further back.
        features: What its config switches on of what may be off; see `features_of`.
    """

    study: str
    title: str
    config_hash: str
    revision: int
    planned_runs: int
    baseline_format: str
    model: str
    steps: int
    tokens_per_run: int
    confidence: float
    min_seeds: int
    min_steps: int
    smallest_effect: float
    power: float
    tuning: str
    deviations: tuple[str, ...]
    layer_types: tuple[str, ...]
    corpus: str
    corpus_source: str
    corpus_description: str
    corpus_licence: str
    corpus_revision: str | None
    corpus_fingerprint: str | None
    tokenizer: str
    train_tokens: int | None
    val_tokens: int | None
    unigram_loss: float | None
    bigram_loss: float | None
    features: tuple[str, ...]

    @property
    def synthetic(self) -> bool:
        """Whether the text is made up, so that its losses say nothing about language."""
        return self.corpus_source == "synthetic"


def study_info(
    study: StudyConfig, corpus_meta: Mapping[str, Any] | None, counted: Mapping[str, float] | None = None
) -> StudyInfo:
    """Return what the reports need to know about a study.

    Args:
        study: The study.
        corpus_meta: The prepared corpus's `meta.json`; without it the corpus's sizes are unknown.
        counted: The losses of models that count, `unigram` and `bigram`, in nats, on the text of evaluation.

    Raises:
        CorpusError: The corpus is another than the study's.
    """
    meta = corpus_meta or {}
    if meta and meta["name"] != study.corpus.name:
        raise CorpusError(
            "corpus", f"it is {meta['name']!r}, and the study's is {study.corpus.name!r}", "Give the study's corpus"
        )
    shape, training = study.model, study.training
    return StudyInfo(
        study=study.study,
        title=study.title,
        config_hash=study_hash(study),
        revision=TRAIN_REVISION,
        planned_runs=planned_runs(study),
        baseline_format=study.baseline.format,
        model=f"GPT, n_layer {shape.n_layer}, n_head {shape.n_head}, n_embd {shape.n_embd}, context {shape.block_size}",
        steps=training.steps,
        tokens_per_run=training.steps * training.batch_size * training.grad_accumulation * shape.block_size,
        confidence=study.analysis.confidence,
        min_seeds=study.analysis.min_seeds,
        min_steps=study.analysis.min_steps,
        smallest_effect=study.analysis.smallest_effect,
        power=study.analysis.power,
        tuning=tuning_words(study),
        deviations=study.deviations,
        layer_types=tuple(name for name in study.layer_types if name != "all"),
        corpus=study.corpus.name,
        corpus_source=study.corpus.source,
        corpus_description=meta.get("description", ""),
        corpus_licence=meta.get("licence", study.corpus.licence),
        corpus_revision=meta.get("made_from", {}).get("revision", study.corpus.revision),
        corpus_fingerprint=meta.get("fingerprint"),
        tokenizer=study.corpus.tokenizer,
        train_tokens=meta.get("train", {}).get("tokens"),
        val_tokens=meta.get("val", {}).get("tokens"),
        unigram_loss=(counted or {}).get("unigram"),
        bigram_loss=(counted or {}).get("bigram"),
        features=features_of(study),
    )


def tuning_words(study: StudyConfig) -> str:
    """Return how a study finds its learning rates; empty where it lists them all."""
    rule = study.tuning
    listed = [study.baseline.lrs, *(grid.lrs for grid in study.grids)]
    if rule is None or None not in listed:
        return ""
    first, last = rule.lr(0), rule.lr(rule.start - 1)
    return (
        f"{rule.start} learning rates in half octaves from {first:g} to {last:g}, and further ones until two lie on"
        f" either side of the best, at most {rule.max_lrs}; {len(rule.seeds)} seeds that are never evaluated; frozen is"
        " the rate nearest to the lowest point of a parabola through the mean losses of the best and its neighbors,"
        f" none of which counts as more than {CLIFF - 1:.0%} above the best"
    )


def features_of(study: StudyConfig) -> tuple[str, ...]:
    """Return what a study switches on: `partition_clip`, `mantissa_shift`, `tuning`, the casts and groups of probes.

    A cast is `input` or `grad_output`, a group of probes `probes.<group>`. A group that is due only after the last step
    counts as off.

    Args:
        study: The study.
    """
    training, quantization = study.training, study.quantization
    switches = {
        "partition_clip": training.partition_clip,
        "mantissa_shift": training.mantissa_shift is not None,
        "tuning": bool(tuning_words(study)),
        "input": quantization.input is not None,
        "grad_output": quantization.grad_output is not None,
        **{f"probes.{group}": 0 < every <= training.steps for group, every in study.telemetry.probes},
    }
    return tuple(name for name, on in switches.items() if on)


def study_hash(study: StudyConfig) -> str:
    """Return the SHA-256 (hex) of a study's config, with every default filled in."""
    text = json.dumps(study.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def to_frame(info: StudyInfo) -> pd.DataFrame:
    """Return the study table."""
    rows: list[Row] = [{"key": key, "value": json.dumps(value)} for key, value in asdict(info).items()]
    return frame("study", rows)


def from_frame(data: pd.DataFrame) -> StudyInfo:
    """Return the study from its table.

    Raises:
        TableError: A field is missing.
    """
    values = {str(key): json.loads(value) for key, value in zip(data["key"], data["value"], strict=True)}
    missing = [field.name for field in fields(StudyInfo) if field.name not in values]
    if missing:
        raise TableError("table study", f"it lacks {', '.join(missing)}", "Run altgrad tabulate again")
    values |= {name: tuple(values[name]) for name in ("layer_types", "features", "deviations")}
    return StudyInfo(**{field.name: values[field.name] for field in fields(StudyInfo)})
