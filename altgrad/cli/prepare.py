"""`altgrad prepare`: documents to token files."""

from pathlib import Path
from typing import Annotated

import typer


def prepare(
    config: Annotated[
        str,
        typer.Option(help="The corpus section of a study, as JSON or YAML: a file, or - for JSON on standard input."),
    ],
    out: Annotated[Path, typer.Option(help="The corpus's folder, for example results/corpus/NAME.")],
) -> None:
    """Turn documents into the token files that training reads.

    Writes train.bin, val.bin (token ids, each document followed by an end-of-text token) and meta.json (source,
    licence, tokenizer, counts, hashes) to OUT. A corpus that is there already and matches is left alone.

    The config's main keys and their defaults:

    \b
      name: NAME
      source: synthetic          # or files, or eurlex (downloads 210 MB once)
      tokenizer: byte            # or gpt2; tokenizer_files: FOLDER, for gpt2 with no network
      paths:                     # source files only: .jsonl, .parquet or .txt (a document a file)
        - acts/*.jsonl
      text_field: text           # the field that holds the text; id_field: the one that names the document
      val_fraction: 0.1          # held out by document; seed: 0 decides which
      size_bytes: 2000000        # source synthetic only
      max_documents: 1000        # left out, all

    \b
    Try it:  echo '{"name": "demo", "source": "synthetic", "tokenizer": "byte"}' |
             altgrad prepare --config - --out results/corpus/demo
    """  # noqa: D301 (click reads the backspace character: keep these lines)
    import sys

    from altgrad.data.prepare import prepare_corpus
    from altgrad.study.config import CorpusConfig
    from altgrad.study.loading import load_config

    corpus = prepare_corpus(load_config(CorpusConfig, config), out, progress=sys.stderr.isatty())
    meta = corpus.meta
    parts = [f"{meta[s]['tokens']:,} {s} tokens in {meta[s]['documents']:,} documents" for s in ("train", "val")]
    print(f"{out}: {'; '.join(parts)}; tokenizer {meta['tokenizer']['name']}; licence {meta['licence']}")
