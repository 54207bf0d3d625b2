"""What is published beside the reports: every digit of the tables, and where they come from."""

import json
from pathlib import Path

import pandas as pd

from altgrad.analysis.publish import PROVENANCE, publish
from altgrad.schema import PUBLISHED, TABLES
from tests.analysis.conftest import Pipeline
from tests.analysis.fabricate import CORPUS_META, make_study


def test_csv_files_hold_the_tables_to_the_last_digit(pipeline: Pipeline, tmp_path: Path) -> None:
    tables = pipeline(make_study(), lambda run: 2.0 + 0.1 / (3 + run.seed))
    publish(tables, tmp_path / "one")
    for name in PUBLISHED:
        data = pd.read_csv(tmp_path / "one" / f"{name}.csv", keep_default_na=False, na_values=[""])
        assert list(data.columns) == [column.name for column in TABLES[name]], name
        for column in TABLES[name]:
            if column.dtype == "float64":
                expected = tables[name][column.name].to_numpy()
                assert pd.to_numeric(data[column.name]).to_numpy().tobytes() == expected.tobytes(), (name, column.name)
    publish(tables, tmp_path / "two")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_provenance_says_what_the_tables_were_made_of(pipeline: Pipeline, tmp_path: Path) -> None:
    tables = pipeline(make_study(), lambda run: 2.0)
    publish(tables, tmp_path)
    found = json.loads((tmp_path / PROVENANCE).read_text())
    assert found["corpus"]["fingerprint"] == CORPUS_META["fingerprint"]
    assert found["runs"]["finished"] == found["runs"]["planned"] == len(tables["runs"])
    assert found["columns"]["comparisons"]["mean"]["unit"] == "nats"
    assert found["hypotheses"] == {"file": [], "sha256": []}
