"""What of a study's tables is published beside its reports: small ones, as CSV, with where they come from."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from altgrad.analysis.study_info import from_frame
from altgrad.analysis.tables import Tables
from altgrad.schema import PUBLISHED, TABLES

PROVENANCE = "provenance.json"
"""The file that says what the tables were made of and with."""


def publish(tables: Tables, out: Path) -> None:
    """Write the tables of `schema.PUBLISHED` as CSV, one file each, and their provenance; equal tables, equal bytes.

    Numbers are written with as many digits as tell them apart from all others; a value that is not defined is empty.

    Args:
        tables: The study's tables and statistics.
        out: The folder.

    Raises:
        TableError: A table is missing or damaged.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name in PUBLISHED:
        tables[name].to_csv(out / f"{name}.csv", index=False, lineterminator="\n")
    text = json.dumps(provenance(tables), indent=1, sort_keys=True)
    (out / PROVENANCE).write_text(f"{text}\n", encoding="utf-8")


def provenance(tables: Tables) -> Mapping[str, Any]:
    """Return what the tables were made of and with: study, corpus, plan, revisions, versions, devices, columns."""
    info, runs, plan = from_frame(tables["study"]), tables["runs"], tables["plan"]
    done = runs[runs["score"].notna()]
    return {
        "study": info.study,
        "title": info.title,
        "config_hash": info.config_hash,
        "corpus": {"name": info.corpus, "fingerprint": info.corpus_fingerprint, "licence": info.corpus_licence},
        "training_revision": info.revision,
        "runs": {"planned": info.planned_runs, "finished": len(done), "trials": len(tables["trials"])},
        "git_revisions": _distinct(done["git_revision"]),
        "versions": [json.loads(text) for text in _distinct(done["versions"])],
        "devices": _distinct(done["device"]),
        "hypotheses": {"file": _distinct(plan["file"]), "sha256": _distinct(plan["sha256"])},
        "columns": {
            name: {c.name: {"dtype": c.dtype, "unit": c.unit, "meaning": c.meaning} for c in TABLES[name]}
            for name in PUBLISHED
        },
    }


def _distinct(values: "pd.Series[str]") -> list[str]:
    return sorted(values.dropna().unique().tolist())
