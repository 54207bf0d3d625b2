# AltGrad's graph: corpus -> runs -> diagnostics -> tables -> statistics -> figures -> reports.
#
#   snakemake                                      all reports of config.yaml's study
#   snakemake reports/manifold_vs_standard.md      one report, and what it needs
#   snakemake --workflow-profile profiles/demo     the demonstration: minutes on two CPU cores
from snakemake.utils import min_version

min_version("9.0")


configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/tune.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/sweep.smk"
include: "workflow/rules/diagnose.smk"
include: "workflow/rules/analyse.smk"
include: "workflow/rules/report.smk"


localrules:
    all,
    runs,
    tuned,


rule all:
    default_target: True
    input:
        expand("<reports>/{report}", report=REPORTS),
        "<reports>/tables/provenance.json",
