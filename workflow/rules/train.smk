# Training: one job for the runs that differ by their seed alone, one after another in one process.
#
# in:  the corpus, the arm's slice of the config, and what tuning chose where the arm leaves out its learning rate
# out: results/runs/<arm>-s<seed>/{config.json, telemetry.parquet, timing.parquet, summary.json} for each seed
#
# The final weights and the restart state lie beside these files, undeclared, because Snakemake deletes declared outputs
# before a rerun, and because runs from an archive have no weights. `exec` leaves no shell between Snakemake and altgrad:
# signals and measurements reach the training itself. Arms of a block of the study share a rule.
for name, arms in TRAINING.items():

    rule:
        name:
            f"train{name}"
        input:
            corpus=expand("<corpus>/{file}", file=CORPUS_FILES),
            tuning=tuning_of,
        output:
            expand("<results>/runs/{{arm}}-s{seed}/{file}", seed=seeds_of(arms), file=RUN_FILES),
        log:
            "<logs>/train/{arm}.log",
        benchmark:
            "<benchmarks>/train/{arm}.tsv"
        wildcard_constraints:
            arm=one_of(arms),
        priority: priority(name)
        conda:
            "../../envs/altgrad.yaml"
        threads: STUDY.training.threads
        resources:
            gpu=1,
        params:
            config=arm_config,
            corpus=lambda wildcards, input: folder(input.corpus),
            tuning=lambda wildcards, input: f"--tuning {input.tuning}" if input.tuning else "",
            out=lambda wildcards, output: above(output),
        shell:
            "exec altgrad sweep --config - --corpus {params.corpus:q} --out {params.out:q} {params.tuning}"
            " <<< {params.config:q} > {log:q} 2>&1"
