"""The corpus source `eurlex`: 65,000 EU acts in English, from the hub.

It is the part `eurlex` of LexGLUE (Chalkidis et al., 2022, arXiv 2110.00976). LexGLUE splits it by date, for
classification; here its three splits are pooled, and validation is split off by document as for every other source, so
that training and validation text come from the same distribution.
"""

import functools
import re
from pathlib import Path
from typing import Any

from altgrad.data.loading import DatasetDocuments, load
from altgrad.data.network import require_network
from altgrad.errors import CorpusError, NetworkError
from altgrad.study.config import CorpusConfig

REPOSITORY = "coastalcph/lex_glue"
REVISION = "c23fdff1a6bf74e0e1a71cb86f1e781d37da888c"
"""The commit that the corpus is read at: https://huggingface.co/datasets/coastalcph/lex_glue/commit/c23fdff"""

SPLITS = ("train", "validation", "test")

_WHERE = "source eurlex"
_OFFLINE = "Run `make demo`, which needs no network, or set source to files and paths to files of your own"


def identity(config: CorpusConfig) -> dict[str, Any]:
    """Return what the corpus is made from: the hub's repository and commit.

    Raises:
        CorpusError: `revision` is not a commit; a branch would not name the same data tomorrow.
    """
    revision = config.revision or REVISION
    if re.fullmatch("[0-9a-f]{40}", revision) is None:
        raise CorpusError(
            f"{_WHERE}: revision", f"{revision!r} is not a commit", "Give its 40 hex digits, or leave it out"
        )
    return {
        "repository": REPOSITORY,
        "revision": revision,
        "text_field": config.text_field,
        "id_field": config.id_field,
    }


def documents(config: CorpusConfig, scratch: Path) -> DatasetDocuments:
    """Return the acts of all three splits, in order, downloading what the hub's cache does not hold yet.

    Args:
        config: With `source: eurlex`.
        scratch: Empty folder on a disk with room for the text.

    Raises:
        NetworkError: The files are not in the cache, and the hub does not answer or breaks off.
        CorpusError: The commit does not exist or does not hold the files.
    """
    revision = identity(config)["revision"]
    files = [_fetch(f"eurlex/{split}-00000-of-00001.parquet", revision) for split in SPLITS]
    return load(files, config, scratch)


def _fetch(name: str, revision: str) -> Path:
    """Return a file of the repository, from the cache if it is there: commits do not change."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.constants import ENDPOINT, is_offline_mode
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RevisionNotFoundError

    where = f"{_WHERE}: {REPOSITORY}/{name}"
    missing = "it is not in the hub's cache"
    fetch = functools.partial(hf_hub_download, REPOSITORY, name, repo_type="dataset", revision=revision)
    try:
        return Path(fetch(local_files_only=True))
    except LocalEntryNotFoundError:
        pass
    if is_offline_mode():
        raise NetworkError(where, f"{missing}, and HF_HUB_OFFLINE is set", f"Unset it. {_OFFLINE}")
    require_network(ENDPOINT, where, missing, _OFFLINE)
    try:
        return Path(fetch())
    except LocalEntryNotFoundError as error:
        raise NetworkError(where, f"{missing}, and the download failed ({error})", "Try again later") from None
    except (EntryNotFoundError, RevisionNotFoundError):
        raise CorpusError(where, f"commit {revision} does not hold it", f"Leave revision out for {REVISION}") from None
    except Exception as error:  # network failures come as errors of several libraries
        raise NetworkError(
            where,
            f"the download broke off ({type(error).__name__}: {error})",
            "Run the same command again; what has arrived is kept",
        ) from None
