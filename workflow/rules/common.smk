# What the rules share: the study, its folders, its runs, and the revision of every stage.
#
# in:  config.yaml, the overlays of --configfile, the values of --config
# out: STUDY, ARMS, RUNS, RESULTS, REPORTS, ...; no rules
import re
import sys
from pathlib import Path

from altgrad.errors import AltGradError
from altgrad.figures.catalog import FIGURES
from altgrad.reporting.catalog import REPORTS
from altgrad.schema import ANALYSIS_TABLES, PUBLISHED, STATISTICS
from altgrad.study.budget import check_budget
from altgrad.study.grid import canonical_json, study_arms
from altgrad.study.included import SUMMARY, included_folders
from altgrad.study.loading import load_study
from altgrad.study.runs import TuneConfig

# Snakemake reruns what changed on disk or in its params; of a change in the code it knows nothing. A stage's number is
# raised in the commit that changes the stage's results, and everything after it is made anew. Training's own number is
# TRAIN_REVISION in altgrad/study/grid.py: it is part of every run's config and of its stamp.
REVISIONS = {
    "prepare": 1,
    "tune": 2,
    "diagnose": 3,
    "tabulate": 5,
    "analyse": 5,
    "plot": 6,
    "report": 6,
}

CORPUS_FILES = ["train.bin", "val.bin", "meta.json"]

RUN_FILES = [
    "config.json",
    "telemetry.parquet",
    "timing.parquet",
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
        study = load_study([*base, *overlays], dict(workflow.config_settings.config))
        check_budget(study)
        return study
    except AltGradError as error:
        refuse(error)


def one_of(names):
    """Return a wildcard constraint: exactly one of these names. No other path matches a rule."""
    return "|".join(map(re.escape, names)) or "(?!)"


def arm_config(wildcards):
    """Return one arm's slice of the config: when it changes, its job runs again, and trains what has changed."""
    return canonical_json(ARMS[wildcards.arm])


def tune_config(wildcards):
    """Return what a cell's tuning depends on: the seeds that are evaluated do not."""
    arm = ARMS[wildcards.arm].model_copy(update={"seeds": STUDY.tuning.seeds})
    return canonical_json(TuneConfig(arm=arm, tuning=STUDY.tuning))


def tuning_of(wildcards):
    """Return the file with an arm's learning rate, where it is tuned."""
    return f"{RESULTS}/tuning/{wildcards.arm}.json" if wildcards.arm in TUNED else []


def seeds_of(arms):
    """Return the seeds that some arms share."""
    return ARMS[arms[0]].seeds


def block_of(study):
    """Return, for each arm, the place of the first block that names it; the baseline's is 0."""
    found = {}
    for place, grid in enumerate(study.grids, 1):
        for arm in study_arms(study.model_copy(update={"grids": (grid,)})):
            found.setdefault(arm.arm, 0 if arm.role == "baseline" else place)
    return found


def jobs(study):
    """Return the names of arms that share a block of the study and their seeds, under what their rules are called."""
    groups, block = {}, block_of(study)
    for arm in ARMS.values():
        groups.setdefault((block[arm.arm], arm.seeds), []).append(arm.arm)
    numbered, several = {}, len(study.grids) > 1
    for (place, _), members in groups.items():
        name = f"_{place}" if several and place else "" if place else "_baseline"
        more = sum(key == name or key.startswith(f"{name}x") for key in numbered)
        numbered[f"{name}x{more + 1}" if more else name] = members
    return numbered


def priority(name):
    """Return the priority of an arm's jobs: blocks of the study are worked through in their order."""
    return len(TRAINING) - list(TRAINING).index(name)


def folder(files):
    """Return the folder that a rule's files lie in: the verbs take folders."""
    return str(Path(files[0]).parent)


def folders(files):
    """Return the folders that files lie in, each once."""
    return list(dict.fromkeys(str(Path(file).parent) for file in files))


def above(files):
    """Return the folder that the folders of a rule's files lie in."""
    return str(Path(files[0]).parents[1])


def included_summaries():
    """Return the summaries of finished runs from elsewhere that the study takes into its tables."""
    planned = [Path(RESULTS, "runs", run) for run in RUNS]
    try:
        return [str(folder / SUMMARY) for folder in included_folders(STUDY.include_runs, planned)]
    except AltGradError as error:
        refuse(error)


STUDY = read_study()
ARMS = {arm.arm: arm for arm in study_arms(STUDY)}
TUNED = [arm.arm for arm in ARMS.values() if arm.lr is None]
RUNS = [f"{arm.arm}-s{seed}" for arm in ARMS.values() for seed in arm.seeds]
TRAINING = jobs(STUDY)
RESULTS = str(Path("results", STUDY.folder))


pathvars:
    results=RESULTS,
    reports=str(Path("reports", STUDY.folder)),
    logs=f"{RESULTS}/logs",
    benchmarks=f"{RESULTS}/benchmarks",
    corpus=f"{RESULTS}/corpus/{STUDY.corpus.name}",


INCLUDED = included_summaries()
