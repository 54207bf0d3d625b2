# The sweep: every run of the study, trained, and nothing after it.
#
# in:  results/runs/<run>/summary.json of every run
# out: nothing (a target to ask for: `snakemake runs`)
rule runs:
    input:
        expand("<results>/runs/{run}/summary.json", run=RUNS),
