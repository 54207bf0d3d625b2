# Tuning: one job a cell, which trains its trials and freezes its learning rate.
#
# in:  the corpus, the cell's slice of the config, and the rule that all cells share
# out: results/tuning/<arm>.json: the choice, and every trial; the trials' folders are results/trials/<trial>/
for name, arms in TRAINING.items():

    rule:
        name:
            f"tune{name}"
        input:
            corpus=expand("<corpus>/{file}", file=CORPUS_FILES),
        output:
            "<results>/tuning/{arm}.json",
        log:
            "<logs>/tune/{arm}.log",
        benchmark:
            "<benchmarks>/tune/{arm}.tsv"
        wildcard_constraints:
            arm=one_of(arm for arm in arms if arm in TUNED),
        priority: priority(name)
        conda:
            "../../envs/altgrad.yaml"
        threads: STUDY.training.threads
        resources:
            gpu=1,
        params:
            config=tune_config,
            corpus=lambda wildcards, input: folder(input.corpus),
            trials=lambda wildcards, output: f"{above(output)}/trials",
            revision=REVISIONS["tune"],
        shell:
            "exec altgrad tune --config - --corpus {params.corpus:q} --trials {params.trials:q} --out {output:q}"
            " <<< {params.config:q} > {log:q} 2>&1"
