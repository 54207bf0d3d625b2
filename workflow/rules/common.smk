# What the rules share: the study, its folders, its runs, and the revision of every stage.
#
# in:  config.yaml, the overlays of --configfile, the values of --config
# out: STUDY, RUNS, RESULTS, REPORTS, ...; no rules
import re
import sys
from pathlib import Path

from altgrad.errors import AltGradError
from altgrad.figures.catalog import FIGURES
from altgrad.reporting.catalog import REPORTS
from altgrad.schema import ANALYSIS_TABLES, STATISTICS
from altgrad.study.sections import ID_PATTERN
from altgrad.study.grid import canonical_json, study_runs
from altgrad.study.included import SUMMARY, included_folders
from altgrad.study.loading import find_run, load_study

# Snakemake reruns what changed on disk or in its params; of a change in the code it knows nothing. A stage's number is
# raised in the commit that changes the stage's results, and everything after it is made anew. Training's own number is
# TRAIN_REVISION in altgrad/study/grid.py: it is part of every run's config and of its stamp.
REVISIONS = {
    "prepare": 1,
    "diagnose": 2,
    "tabulate": 3,
    "analyse": 3,
    "plot": 3,
    "report": 3,
}

CORPUS_FILES = ["train.bin", "val.bin", "meta.json"]

RUN_FILES = [
    "config.json",
    "telemetry.parquet",
    "timing.parquet",
    "final.safetensors",
    "summary.json",
]


def refuse(error):
    """End as the command line does: one line, exit status 2."""
    print(f"altgrad: error: {error}", file=sys.stderr)
    sys.exit(2)


def read_study():
    """Read the study through the closed loader, in the same order as Snakemake lays its files over each other."""
    base = [] if workflow.config_settings.replace_workflow_config else [Path("config.yaml")]
    overlays = [path for path in map(Path, workflow.overwrite_configfiles) if not path.samefile("config.yaml")]
    try:
        return load_study([*base, *overlays], dict(workflow.config_settings.config))
    except AltGradError as error:
        refuse(error)


def one_of(names):
    """Return a wildcard constraint: exactly one of these names. No other path matches a rule."""
    return "|".join(map(re.escape, names)) or "(?!)"


def run_config(wildcards):
    """Return one run's slice of the config: when it changes, that run is trained again, and no other."""
    return canonical_json(RUNS.get(wildcards.run) or find_run(STUDY, wildcards.run))


def folder(files):
    """Return the folder that a rule's files lie in: the verbs take folders."""
    return str(Path(files[0]).parent)


def folders(files):
    """Return the folders that files lie in, each once."""
    return list(dict.fromkeys(str(Path(file).parent) for file in files))


def included_summaries():
    """Return the summaries of finished runs from elsewhere that the study takes into its tables."""
    planned = [Path(RESULTS, "runs", run) for run in RUNS]
    try:
        return [str(folder / SUMMARY) for folder in included_folders(STUDY.include_runs, planned)]
    except AltGradError as error:
        refuse(error)


STUDY = read_study()
RUNS = {run.run_id: run for run in study_runs(STUDY)}
BASELINE_RUNS = [run.run_id for run in RUNS.values() if run.role == "baseline"]
RESULTS = str(Path("results", STUDY.folder))


pathvars:
    results=RESULTS,
    reports=str(Path("reports", STUDY.folder)),
    logs=f"{RESULTS}/logs",
    benchmarks=f"{RESULTS}/benchmarks",
    corpus=f"{RESULTS}/corpus/{STUDY.corpus.name}",


# Runs of an earlier config may lie among the study's own. Where they are included they are files, which no rule makes.
INCLUDED = included_summaries()
NOT_INCLUDED = f"(?!(?:{one_of(Path(summary).parent.name for summary in INCLUDED)})[/.])"


wildcard_constraints:
    run=f"{NOT_INCLUDED}{ID_PATTERN.strip('^$')}",
