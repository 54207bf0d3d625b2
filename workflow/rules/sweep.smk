# The sweep: every run of the study, trained, and nothing after it; and the search for learning rates before it.
#
# in:  results/tuning/<arm>.json of every tuned arm; results/runs/<run>/summary.json of every run
# out: nothing (targets to ask for: `snakemake tuned`, `snakemake runs`)
rule tuned:
    input:
        expand("<results>/tuning/{arm}.json", arm=TUNED),


rule runs:
    input:
        expand("<results>/runs/{run}/summary.json", run=RUNS),
