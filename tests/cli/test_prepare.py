import json

import pytest
import typer
from typer.testing import CliRunner

from altgrad.cli.prepare import prepare
from altgrad.data.prepare import load_corpus
from altgrad.errors import ConfigError

CONFIG = {"name": "demo", "source": "synthetic", "tokenizer": "byte", "size_bytes": 30_000}


@pytest.fixture
def run():
    app = typer.Typer()
    app.command()(prepare)
    return lambda *arguments, **options: CliRunner().invoke(app, arguments, catch_exceptions=False, **options)


def test_a_config_from_a_file_or_from_standard_input(run, tmp_path):
    (tmp_path / "corpus.yaml").write_text("\n".join(f"{key}: {value}" for key, value in CONFIG.items()))
    result = run("--config", str(tmp_path / "corpus.yaml"), "--out", str(tmp_path / "a"))
    assert result.exit_code == 0
    corpus = load_corpus(tmp_path / "a")
    meta = corpus.meta
    assert result.output.strip() == (
        f"{tmp_path}/a: {len(corpus.train):,} train tokens in {meta['train']['documents']:,} documents; "
        f"{len(corpus.val):,} val tokens in {meta['val']['documents']:,} documents; "
        "tokenizer byte; licence CC0-1.0"
    )
    result = run("--config", "-", "--out", str(tmp_path / "b"), input=json.dumps(CONFIG))
    assert result.exit_code == 0
    assert load_corpus(tmp_path / "b").fingerprint == corpus.fingerprint


def test_a_misspelled_key_is_named(run, tmp_path):
    (tmp_path / "corpus.json").write_text(json.dumps(CONFIG | {"size_byte": 1}))
    with pytest.raises(ConfigError, match=r"corpus\.json: size_byte: unknown key\. Did you mean size_bytes"):
        run("--config", str(tmp_path / "corpus.json"), "--out", str(tmp_path / "a"))
    assert not (tmp_path / "a").exists()


def test_help_teaches(run):
    output = run("--help").output
    for word in ("meta.json", "synthetic", "text_field", "val_fraction", "altgrad prepare --config -"):
        assert word in output
