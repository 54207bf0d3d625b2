# Training: one job a run of the grid.
#
# in:  the corpus, and the run's slice of the config
# out: results/runs/<run>/{config.json, telemetry.parquet, timing.parquet, final.safetensors, summary.json}
#
# The restart state lies beside these files, undeclared, because Snakemake deletes declared outputs before a rerun.
# `exec` leaves no shell between Snakemake and altgrad: signals and measurements reach the training itself.
rule train:
    input:
        expand("<corpus>/{file}", file=CORPUS_FILES),
    output:
        expand("<results>/runs/{{run}}/{file}", file=RUN_FILES),
    log:
        "<logs>/train/{run}.log",
    benchmark:
        "<benchmarks>/train/{run}.tsv"
    conda:
        "../../envs/altgrad.yaml"
    threads: STUDY.training.threads
    resources:
        gpu=1,
    params:
        config=run_config,
        corpus=lambda wildcards, input: folder(input),
        out=lambda wildcards, output: folder(output),
    shell:
        "exec altgrad train --config - --corpus {params.corpus:q} --out {params.out:q} --set-aside"
        " <<< {params.config:q} > {log:q} 2>&1"
