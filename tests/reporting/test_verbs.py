"""The four verbs, one after another, on fabricated runs; and no torch on the way."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from altgrad.analysis.study_info import from_frame
from altgrad.analysis.tables import read_frame
from altgrad.cli.analyse import analyse
from altgrad.cli.plot import plot
from altgrad.cli.report import report
from altgrad.cli.tabulate import tabulate
from altgrad.data.store import SPLITS, fingerprint
from altgrad.errors import ReportError, TableError
from altgrad.reporting.catalog import REPORTS
from altgrad.schema import ANALYSIS_TABLES, STATISTICS
from tests.analysis.fabricate import CORPUS_META, VOCAB, fabricate, make_study


def write_corpus(folder: Path) -> str:
    """Write a corpus in which the next token follows from the last, and return its fingerprint."""
    folder.mkdir()
    streams = {split: (np.arange(2000) % VOCAB).astype("<u2") for split in SPLITS}
    for split, tokens in streams.items():
        tokens.tofile(folder / f"{split}.bin")
    meta = {
        **CORPUS_META,
        "dtype": "uint16",
        "tokenizer": {"name": "byte", "vocab_size": VOCAB, "sha256": "0" * 64},
        **{split: {"tokens": len(tokens), "sha256": "0" * 64} for split, tokens in streams.items()},
    }
    meta["fingerprint"] = fingerprint(meta)
    (folder / "meta.json").write_text(json.dumps(meta))
    return str(meta["fingerprint"])


def test_from_run_folders_to_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(formats=["E4M3"], storages=["nearest"], seeds=[1, 2], include_runs=["kept/*"])
    monkeypatch.setitem(CORPUS_META, "fingerprint", write_corpus(tmp_path / "corpus"))
    folders = fabricate(study, tmp_path, lambda run: 2.0, diagnostics=True)
    elsewhere = make_study(formats=["E5M2"], updates=["adamw"], storages=["nearest"], seeds=[1])
    kept = fabricate(elsewhere, tmp_path / "other", lambda run: 2.0)
    (tmp_path / "kept").mkdir()
    kept[-1].rename(tmp_path / "kept" / "E5M2")
    (tmp_path / "study.json").write_text(study.model_dump_json())
    monkeypatch.chdir(tmp_path)
    tables, statistics, figures = (tmp_path / name for name in ("tables", "statistics", "reports/figures"))
    tabulate(
        folders[0].parent, tables, str(tmp_path / "study.json"), None, tmp_path / "diagnostics", tmp_path / "corpus"
    )
    analyse(tables, statistics)
    plot(tables, statistics, figures, ["lr_basins"])
    assert sorted(p.name for p in figures.iterdir()) == ["lr_basins.png", "lr_basins.svg"]
    plot(tables, statistics, figures, None)
    report(tables, statistics, figures, tmp_path / "reports" / "study.md")
    assert [path.name for path in (tmp_path / "reports").iterdir() if path.is_file()] == ["study.md"]
    report(tables, statistics, figures, tmp_path / "reports")
    assert {path.name for path in (tmp_path / "reports").iterdir()} == {*REPORTS, "figures"}
    assert sorted(p.stem for p in tables.iterdir()) == sorted(ANALYSIS_TABLES)
    assert sorted(p.stem for p in statistics.iterdir()) == sorted(STATISTICS)
    info = from_frame(read_frame(tables, "study"))
    assert info.unigram_loss == pytest.approx(math.log(VOCAB), abs=0.05)
    assert info.bigram_loss is not None and info.bigram_loss < 0.2
    matrix = (tmp_path / "reports" / "TEST_MATRIX.md").read_text()
    assert "| E5M2 | adamw | nearest | all | 0.01 | included | done | 1 (1) |" in matrix
    with pytest.raises(ReportError, match="'x' is not a figure"):
        plot(tables, statistics, figures, ["x"])
    (tables / "runs.parquet").unlink()
    with pytest.raises(TableError, match=r"runs.parquet: there is no such file"):
        analyse(tables, statistics)


def test_nothing_here_imports_torch() -> None:
    code = (
        "import altgrad.cli.tabulate, altgrad.cli.analyse, altgrad.cli.plot, altgrad.cli.report, sys;"
        "heavy = {'pandas', 'matplotlib', 'jinja2', 'scipy'} & set(sys.modules); assert not heavy, heavy;"
        "import altgrad.analysis.tabulate, altgrad.analysis.analyse, altgrad.reporting.render;"
        "assert 'matplotlib' not in sys.modules;"
        "import matplotlib.figure; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
