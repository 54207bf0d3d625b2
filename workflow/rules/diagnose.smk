# Diagnostics of a run's final weights.
#
# in:  results/runs/<run>/
# out: results/diagnostics/<run>.parquet
rule diagnose:
    input:
        expand(
            "<results>/runs/{{run}}/{file}",
            file=["config.json", "final.safetensors", "summary.json"],
        ),
    output:
        "<results>/diagnostics/{run}.parquet",
    log:
        "<logs>/diagnose/{run}.log",
    benchmark:
        "<benchmarks>/diagnose/{run}.tsv"
    conda:
        "../../envs/altgrad.yaml"
    params:
        run=lambda wildcards, input: folder(input),
        revision=REVISIONS["diagnose"],
    shell:
        "exec altgrad diagnose --run {params.run:q} --out {output:q} > {log:q} 2>&1"
