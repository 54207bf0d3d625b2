"""`altgrad tabulate`: run folders to tidy tables."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer


def tabulate(
    runs: Annotated[Path, typer.Option(help="The folder of the runs' folders, for example results/runs.")],
    out: Annotated[Path, typer.Option(help="Folder for the tables, for example results/tables.")],
    study: Annotated[str, typer.Option(help="The study's config: a file, or - for JSON on standard input.")],
    tuning: Annotated[Path | None, typer.Option(help="Folder of what `altgrad tune` wrote.")] = None,
    diagnostics: Annotated[Path | None, typer.Option(help="Folder with RUN_ID.parquet diagnostics.")] = None,
    corpus: Annotated[
        Path | None, typer.Option(help="The prepared corpus, for its size and its fingerprint, and for n-gram losses.")
    ] = None,
) -> None:
    """Write the tables of a study from its run folders.

    Every run is checked against the study: its config, its corpus and its revision. Runs that the study plans and that
    are not there have the status `missing`. Folders in the study's `include_runs` (globs) are taken in
    beside them.
    """
    from altgrad.analysis.tabulate import tabulate_study, write_tables
    from altgrad.data.ngrams import ngram_losses
    from altgrad.data.store import load_corpus
    from altgrad.data.windows import eval_windows
    from altgrad.study.config import StudyConfig
    from altgrad.study.grid import study_arms
    from altgrad.study.included import SUMMARY, included_folders
    from altgrad.study.loading import load_config

    config = load_config(StudyConfig, study)
    meta, counted = None, None
    if corpus is not None:
        text, training = load_corpus(corpus), config.training
        windows = eval_windows(text.val, config.model.block_size, training.eval_batches * training.batch_size)
        meta, counted = text.meta, asdict(ngram_losses(text.train, windows, text.meta["tokenizer"]["vocab_size"]))
    planned = [runs / f"{arm.arm}-s{seed}" for arm in study_arms(config) for seed in arm.seeds]
    tables = tabulate_study(
        config,
        [folder for folder in planned if (folder / SUMMARY).exists()],
        included=included_folders(config.include_runs, planned=planned),
        tuning=tuning,
        diagnostics=diagnostics,
        corpus_meta=meta,
        counted=counted,
    )
    write_tables(out, tables)
