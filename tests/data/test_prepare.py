import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from altgrad.data import store
from altgrad.data.prepare import load_corpus, prepare_corpus
from altgrad.errors import CorpusError, LockedError, MismatchError, TokenizerError


@pytest.fixture
def config(corpus_config, jsonl):
    """A config of 20 documents, one of them empty, two of them copies."""
    rows = [{"text": f"document {number}\r\n" * (number + 1)} for number in range(18)]
    file = jsonl("acts.jsonl", *rows, {"text": " "}, rows[3])
    return corpus_config(paths=(str(file),), val_fraction=0.2, licence="CC-BY-4.0")


def documents(stream, end=256):
    """Cut a byte stream into its documents."""
    assert stream[-1] == end
    cuts = np.flatnonzero(stream == end)
    starts = [0, *(cuts[:-1] + 1)]
    return [bytes(stream[a:b].astype(np.uint8)).decode() for a, b in zip(starts, cuts, strict=True)]


def snapshot(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def test_the_streams_hold_every_document_once_on_one_side(config, tmp_path):
    corpus = prepare_corpus(config, tmp_path / "out")
    train, val = documents(corpus.train), documents(corpus.val)
    expected = [f"document {number}\n" * (number + 1) for number in range(18)]
    assert sorted(train + val) == sorted([*expected, expected[3]])
    assert not set(train) & set(val)
    assert len(val) in (4, 5)  # round(0.2 * 19), and one more where a pair of copies ends it
    assert [text for text in expected if text in train] == list(dict.fromkeys(train))  # in order


def test_the_metadata_says_what_the_streams_are(config, tmp_path):
    corpus = prepare_corpus(config, tmp_path / "out")
    meta = json.loads((tmp_path / "out" / "meta.json").read_text())
    assert meta == corpus.meta
    assert meta["name"] == "test" and meta["source"] == "files" and meta["licence"] == "CC-BY-4.0"
    assert meta["tokenizer"]["name"] == "byte" and meta["tokenizer"]["vocab_size"] == 257
    assert meta["dtype"] == "uint16" and meta["revision"] == store.REVISION
    assert (meta["empty_documents"], meta["duplicate_documents"]) == (1, 1)
    for split, stream in (("train", corpus.train), ("val", corpus.val)):
        data = (tmp_path / "out" / f"{split}.bin").read_bytes()
        assert meta[split] == {
            "documents": int((stream == 256).sum()),
            "tokens": len(data) // 2,
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        assert stream.tolist() == np.frombuffer(data, "<u2").tolist()
        assert not stream.flags.writeable
    acts = Path(config.paths[0])
    assert meta["made_from"]["files"] == [
        {"name": "acts.jsonl", "sha256": hashlib.sha256(acts.read_bytes()).hexdigest()}
    ]
    assert str(tmp_path) not in json.dumps(meta)


def test_equal_configs_give_equal_bytes_wherever_they_lie(config, tmp_path):
    prepare_corpus(config, tmp_path / "one")
    moved = tmp_path / "moved" / "acts.jsonl"
    moved.parent.mkdir()
    moved.write_bytes(Path(config.paths[0]).read_bytes())
    prepare_corpus(config.model_copy(update={"paths": (str(moved),)}), tmp_path / "other")
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "other")
    assert set(snapshot(tmp_path / "one")) == {"train.bin", "val.bin", "meta.json"}


def test_a_corpus_that_matches_is_left_alone_and_any_other_is_replaced(config, tmp_path):
    out = tmp_path / "out"
    first = prepare_corpus(config, out)
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    prepare_corpus(config, out)
    assert before == {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    second = prepare_corpus(config.model_copy(update={"seed": 1}), out)
    assert second.fingerprint != first.fingerprint
    with Path(config.paths[0]).open("a") as handle:  # the documents change, the config does not
        handle.write('{"text": "another"}\n')
    third = prepare_corpus(config.model_copy(update={"seed": 1}), out)
    assert "another" in documents(third.train) + documents(third.val)


def test_a_damaged_stream_is_noticed_and_made_again(config, tmp_path):
    out = tmp_path / "out"
    good = prepare_corpus(config, out).fingerprint
    data = bytearray((out / "train.bin").read_bytes())
    data[10] ^= 1
    (out / "train.bin").write_bytes(data)
    load_corpus(out)  # a flipped bit shows only when asked for
    with pytest.raises(CorpusError, match=r"train\.bin: its SHA-256 is not the one in meta\.json"):
        load_corpus(out, verify=True)
    assert prepare_corpus(config, out).fingerprint == good
    load_corpus(out, verify=True)
    (out / "train.bin").write_bytes(data[:-2])
    with pytest.raises(CorpusError, match=r"train\.bin: it has \d+ bytes where meta\.json says \d+"):
        load_corpus(out)


def test_loading_refuses_what_is_no_corpus(config, tmp_path, monkeypatch):
    with pytest.raises(CorpusError, match=r"meta\.json: it cannot be read .* Make the corpus with `altgrad prepare`"):
        load_corpus(tmp_path)
    out = tmp_path / "out"
    prepare_corpus(config, out)
    meta = (out / "meta.json").read_text()
    for bad in (meta[:50], "[]", "{}", meta.replace('"uint16"', '"uint32"')):
        (out / "meta.json").write_text(bad)
        with pytest.raises(CorpusError, match=r"meta\.json: it is damaged"):
            load_corpus(out)
    (out / "meta.json").write_text(meta)
    (out / "val.bin").unlink()
    with pytest.raises(CorpusError, match=r"val\.bin: it cannot be read"):
        load_corpus(out)
    monkeypatch.setattr(store, "REVISION", 2)
    with pytest.raises(MismatchError, match="prepared by revision 1, this is revision 2"):
        load_corpus(out)


def test_the_fingerprint_follows_tokenizer_and_tokens(config, tmp_path, gpt2_files):
    meta = dict(prepare_corpus(config, tmp_path / "out").meta)
    prints = {store.fingerprint(meta)}
    prints.add(store.fingerprint(meta | {"tokenizer": meta["tokenizer"] | {"sha256": "0"}}))
    prints.add(store.fingerprint(meta | {"dtype": "uint32"}))
    prints.update(store.fingerprint(meta | {split: meta[split] | {"sha256": "0"}}) for split in ("train", "val"))
    assert len(prints) == 5
    assert store.fingerprint(meta | {"name": "other", "licence": "other"}) in prints


def test_gpt2_tokens(config, tmp_path, gpt2_files):
    corpus = prepare_corpus(
        config.model_copy(update={"tokenizer": "gpt2", "tokenizer_files": gpt2_files}), tmp_path / "out"
    )
    assert corpus.meta["tokenizer"]["vocab_size"] == 50257
    assert corpus.train[-1] == corpus.val[-1] == 50256
    assert corpus.train.dtype == np.uint16 and corpus.train.max() == 50256


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_kill_at_any_rename_leaves_no_mixture(config, tmp_path, monkeypatch, nth):
    out = tmp_path / "out"
    prepare_corpus(config, out)
    calls = []

    def fail(source, target, replace=os.replace):
        calls.append(target)
        if len(calls) == nth:
            raise OSError(errno.EIO, "Input/output error", str(target))
        replace(source, target)

    other = config.model_copy(update={"seed": 5})
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(CorpusError, match=r"it cannot be written \(errno 5: Input/output error\)"):
            prepare_corpus(other, out)
    with pytest.raises(CorpusError, match=r"meta\.json: it cannot be read"):
        load_corpus(out)
    assert snapshot(out).keys() <= {"train.bin", "val.bin"}
    again = prepare_corpus(other, out)
    assert again.fingerprint == prepare_corpus(other, tmp_path / "fresh").fingerprint
    load_corpus(out, verify=True)


def test_a_full_disk_leaves_the_corpus_before_intact(config, tmp_path, monkeypatch):
    out = tmp_path / "out"
    prepare_corpus(config, out)
    before = snapshot(out)

    def full(self, text):
        raise OSError(errno.ENOSPC, "No space left on device", "train.bin")

    monkeypatch.setattr(store.TokenStream, "write", full)
    with pytest.raises(CorpusError) as error:
        prepare_corpus(config.model_copy(update={"seed": 5}), out)
    assert str(error.value) == (
        "train.bin: it cannot be written (errno 28: No space left on device). "
        "Free space or choose another folder, and run the same command again."
    )
    assert snapshot(out) == before


def test_what_a_killed_process_left_is_removed(config, tmp_path):
    out = tmp_path / "out"
    (out / ".staging" / "scratch").mkdir(parents=True)
    (out / ".staging" / "train.bin").write_bytes(b"half")
    corpus = prepare_corpus(config, out)
    assert corpus.fingerprint == prepare_corpus(config, tmp_path / "fresh").fingerprint
    assert not (out / ".staging").exists()


def test_two_at_once_are_refused(config, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with FileLock(out / ".lock"), pytest.raises(LockedError, match="another process is preparing this corpus"):
        prepare_corpus(config, out)


def test_a_folder_that_cannot_be_made_is_noticed_before_anything_is_computed(config, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(store.TokenStream, "write", lambda *a: pytest.fail("it tokenized first"))
    with pytest.raises(CorpusError, match="it cannot be written"):
        prepare_corpus(config, tmp_path / "file" / "out")


def test_no_fallback_from_a_tokenizer(config, tmp_path):
    broken = config.model_copy(update={"tokenizer": "gpt2", "tokenizer_files": str(tmp_path)})
    with pytest.raises(TokenizerError):
        prepare_corpus(broken, tmp_path / "out")
    assert snapshot(tmp_path / "out") == {}


def test_max_documents_takes_the_first(config, tmp_path):
    corpus = prepare_corpus(config.model_copy(update={"max_documents": 5}), tmp_path / "out")
    texts = documents(corpus.train) + documents(corpus.val)
    assert sorted(texts) == [f"document {number}\n" * (number + 1) for number in range(5)]


def test_synthetic_text_is_called_synthetic(corpus_config, tmp_path):
    corpus = prepare_corpus(corpus_config(source="synthetic", size_bytes=50_000), tmp_path / "out")
    assert corpus.meta["description"].startswith("Synthetic text")
    assert corpus.meta["licence"] == "CC0-1.0"
    assert len(corpus.train) + len(corpus.val) >= 50_000


def test_preparing_needs_no_torch(tmp_path):
    code = "import sys, altgrad.data.prepare, altgrad.data.corpora; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
