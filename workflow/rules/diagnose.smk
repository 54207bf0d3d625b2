# Diagnostics of runs' final weights: one job for the runs of an arm.
#
# in:  results/runs/<arm>-s<seed>/ for each seed
# out: results/diagnostics/<arm>-s<seed>.parquet for each seed
for name, arms in TRAINING.items():

    rule:
        name:
            f"diagnose{name}"
        input:
            expand(
                "<results>/runs/{{arm}}-s{seed}/{file}",
                seed=seeds_of(arms),
                file=["config.json", "summary.json"],
            ),
        output:
            expand("<results>/diagnostics/{{arm}}-s{seed}.parquet", seed=seeds_of(arms)),
        log:
            "<logs>/diagnose/{arm}.log",
        benchmark:
            "<benchmarks>/diagnose/{arm}.tsv"
        wildcard_constraints:
            arm=one_of(arms),
        conda:
            "../../envs/altgrad.yaml"
        params:
            runs=lambda wildcards, input: [f"--run {run}" for run in folders(input)],
            out=lambda wildcards, output: output[0] if len(output) == 1 else folder(output),
            revision=REVISIONS["diagnose"],
        shell:
            "exec altgrad diagnose {params.runs} --out {params.out:q} > {log:q} 2>&1"
