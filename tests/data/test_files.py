import json
import logging

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from altgrad.data import files
from altgrad.data.documents import Document
from altgrad.errors import CorpusError


@pytest.fixture
def read(tmp_path, corpus_config):
    """Read files as a corpus would: identity first, then the documents."""

    def run(*paths, **keys):
        config = corpus_config(paths=tuple(map(str, paths)), **keys)
        files.identity(config)
        return list(files.documents(config, tmp_path / "scratch"))

    return run


def test_json_lines(read, jsonl):
    file = jsonl("a.jsonl", {"body": "one", "n": 7}, {"body": "two\r\n\0", "n": 8}, {"body": None, "n": 9})
    expected = [Document("one", "7"), Document("two\r\n\0", "8"), Document("", "9")]
    assert read(file, text_field="body", id_field="n") == expected


def test_parquet(read, tmp_path):
    pq.write_table(pa.table({"text": ["a", None, "b"], "id": ["x", "y", None]}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet", id_field="id") == [Document("a", "x"), Document("", "y"), Document("b")]


def test_text_files_are_one_document_each_in_sorted_order(read, tmp_path):
    for name, text in (("b.txt", "second\n\nparagraph"), ("a.txt", "first"), ("c.txt", "")):
        (tmp_path / name).write_text(text)
    assert [d.text for d in read(tmp_path / "*.txt")] == ["first", "second\n\nparagraph", ""]


def test_globs_are_sorted_and_a_file_named_twice_is_read_once(read, jsonl, tmp_path):
    for name in ("2.jsonl", "10.jsonl", "1.jsonl"):
        jsonl(name, {"text": name})
    found = [d.text for d in read(tmp_path / "2.jsonl", tmp_path / "*.jsonl")]
    assert found == ["1.jsonl", "10.jsonl", "2.jsonl"]


def test_names_with_the_letters_of_globs_are_read(read, jsonl, tmp_path):
    jsonl("we[i]rd?.jsonl", {"text": "x"})
    assert [d.text for d in read(tmp_path / "*.jsonl")] == ["x"]


def test_other_fields_may_change_from_line_to_line_and_file_to_file(read, jsonl, tmp_path):
    big = [{"text": "w" * 50_000, "tags": []} for _ in range(250)]  # past the loader's first 10 MiB
    jsonl("a.jsonl", *big, {"text": "end", "tags": ["t"], "more": 1})
    jsonl("b.jsonl", {"text": "b", "tags": {"x": 1}})
    texts = [d.text for d in read(tmp_path / "*.jsonl")]
    assert len(texts) == 252 and texts[-2:] == ["end", "b"]


def test_blank_files_and_lines_hold_no_documents(read, jsonl, tmp_path):
    (tmp_path / "a.jsonl").write_text("")
    (tmp_path / "b.jsonl").write_text("\n\n")
    (tmp_path / "c.jsonl").write_text('{"text": "x"}\n\n{"text": "y"}\n')
    assert [d.text for d in read(tmp_path / "*.jsonl")] == ["x", "y"]
    assert read(tmp_path / "a.jsonl") == []


def test_documents_can_be_gone_through_twice(tmp_path, corpus_config, jsonl):
    file = jsonl("a.jsonl", *({"text": str(number)} for number in range(200)))
    documents = files.documents(corpus_config(paths=(str(file),)), tmp_path / "scratch")
    assert list(documents) == list(documents) == [Document(str(number)) for number in range(200)]


def test_the_identity_follows_the_bytes_and_not_the_place(corpus_config, jsonl, tmp_path):
    file = jsonl("a.jsonl", {"text": "x"})
    (tmp_path / "elsewhere").mkdir()
    copy = tmp_path / "elsewhere" / "a.jsonl"
    copy.write_bytes(file.read_bytes())
    one, other = (files.identity(corpus_config(paths=(str(f),))) for f in (file, copy))
    assert one == other
    copy.write_bytes(b'{"text": "y"}\n')
    assert files.identity(corpus_config(paths=(str(copy),))) != one


@pytest.fixture
def loader_log():
    """What `datasets` logs, which would stand beside the one line of the error."""
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logging.getLogger("datasets").addHandler(handler)
    yield records
    logging.getLogger("datasets").removeHandler(handler)


def refusal(read, *paths, **keys):
    with pytest.raises(CorpusError) as error:
        read(*paths, **keys)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_no_file_matched(read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refusal(read, "acts/*.jsonl") == (
        f"paths: acts/*.jsonl: no file matches. Give paths or globs, read from {tmp_path}."
    )


def test_unknown_and_mixed_kinds_of_files(read, tmp_path):
    for name in ("a.csv", "a.txt", "a.jsonl"):
        (tmp_path / name).write_text("x")
    expected = "its name ends in .csv. Give files of one of .jsonl, .parquet, .txt"
    assert expected in refusal(read, tmp_path / "a.csv")
    expected = "paths: they mix .jsonl and .txt files"
    assert expected in refusal(read, tmp_path / "a.txt", tmp_path / "a.jsonl")


def test_a_missing_field_offers_the_fields_there_are(read, jsonl):
    file = jsonl("a.jsonl", {"title": "t", "body": "b"})
    expected = f"{file}: it has no field 'text'. Set text_field to one of the fields it has: title, body."
    assert refusal(read, file) == expected
    assert "it has no field 'celex'. Set id_field" in refusal(read, file, text_field="body", id_field="celex")


def test_a_field_that_is_no_text(read, jsonl):
    file = jsonl("a.jsonl", {"text": 1, "body": "b"}, {"text": 2, "body": "b"})
    expected = f"{file}: its field 'text' holds int64, not text. Set text_field to a field of text"
    assert expected in refusal(read, file)
    file = jsonl("b.jsonl", {"text": ["a", "b"]})
    assert "its field 'text' holds List, not text" in refusal(read, file)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (b'{"text": "x"}\n{"text": "y\n', "line 2: it is not JSON (Unterminated string starting at, column 10)"),
        (b'{"text": "x"}\n\n{"text" "y"}\n', "line 3: it is not JSON (Expecting ':' delimiter, column 9)"),
        (b'"x"\n"y"\n', "line 1: it is a JSON str, not an object. Write one JSON object a line"),
        (b'{"text": "x"}\n{"text": "\\ud800"}\n', "line 2: it escapes half of a surrogate pair"),
        (b'{"text": "x", "text": "y"}\n', "it cannot be read (JSON parse error: Column(/text) was specified twice"),
    ],
)
def test_malformed_json_names_file_and_line(read, tmp_path, loader_log, lines, expected):
    (tmp_path / "a.jsonl").write_bytes(lines)
    message = refusal(read, tmp_path / "a.jsonl")
    assert message.startswith(str(tmp_path / "a.jsonl")) and expected in message
    assert loader_log == []


@pytest.mark.parametrize("name", ["a.jsonl", "a.txt"])
@pytest.mark.parametrize("before", [0, 5, (1 << 20) - 1, 1 << 20])
def test_bytes_that_are_not_utf8_are_named_by_file_and_offset(read, tmp_path, name, before):
    (tmp_path / name).write_bytes(b"a" * before + b"\xffz")
    expected = f"{tmp_path / name}: byte {before} (0xff) is not UTF-8. Save the file as UTF-8."
    assert refusal(read, tmp_path / name) == expected


def test_a_character_cut_at_a_chunk_or_at_the_end_is_placed_right(read, tmp_path):
    euro = "€".encode()
    (tmp_path / "whole.txt").write_bytes(b"a" * ((1 << 20) - 1) + euro)
    assert read(tmp_path / "whole.txt")[0].text.endswith("a€")
    (tmp_path / "split.txt").write_bytes(b"a" * ((1 << 20) - 1) + euro[:2] + b"b")
    assert f"byte {(1 << 20) - 1} (0xe2)" in refusal(read, tmp_path / "split.txt")
    (tmp_path / "end.txt").write_bytes(b"abc" + euro[:2])
    assert "byte 3 (0xe2)" in refusal(read, tmp_path / "end.txt")


def test_parquet_that_is_damaged_or_holds_bytes_that_are_not_utf8(read, tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"not parquet")
    assert "a.parquet: it cannot be read (Parquet magic bytes not found" in refusal(read, tmp_path / "a.parquet")
    texts = _as_text([b"x"] * 70 + [b"ab\xff"])
    pq.write_table(pa.table({"text": texts}), tmp_path / "b.parquet")
    expected = f"{tmp_path}/b.parquet: rows 64 to 127: byte 2 (0xff) of a text is not UTF-8"
    assert expected in refusal(read, tmp_path / "b.parquet")


def _as_text(values):
    """An Arrow string column whose bytes nobody has checked."""
    column = pa.array(values, type=pa.binary())
    return pa.Array.from_buffers(pa.string(), len(column), column.buffers())


def test_nothing_is_asked_of_the_network(read, jsonl, monkeypatch):
    import socket

    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **options: pytest.fail("a name was looked up"))
    assert read(jsonl("a.jsonl", {"text": "x"})) == [Document("x")]


def test_json_in_the_text_stays_text(read, jsonl):
    text = json.dumps({"text": "inner"})
    assert read(jsonl("a.jsonl", {"text": text})) == [Document(text)]
