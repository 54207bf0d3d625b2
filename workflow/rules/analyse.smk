# Analysis: runs to tidy tables, tables to statistics, both to figures.
#
# in:  results/runs/<run>/, results/diagnostics/<run>.parquet, results/tuning/<arm>.json, the corpus
# out: results/tables/*.parquet -> results/statistics/*.parquet -> reports/figures/*.{svg,png}
rule tabulate:
    input:
        runs=expand("<results>/runs/{run}/{file}", run=RUNS, file=RUN_FILES),
        diagnostics=expand("<results>/diagnostics/{run}.parquet", run=RUNS),
        tuning=expand("<results>/tuning/{arm}.json", arm=TUNED),
        corpus=expand("<corpus>/{file}", file=CORPUS_FILES),
        included=INCLUDED,
        hypotheses=STUDY.hypotheses or [],
    output:
        expand("<results>/tables/{table}.parquet", table=ANALYSIS_TABLES),
    log:
        "<logs>/tabulate.log",
    benchmark:
        "<benchmarks>/tabulate.tsv"
    conda:
        "../../envs/altgrad.yaml"
    params:
        study=STUDY.model_dump_json(),
        out=lambda wildcards, output: folder(output),
        diagnostics=lambda wildcards, input: folder(input.diagnostics),
        corpus=lambda wildcards, input: folder(input.corpus),
        runs=lambda wildcards, input: above(input.runs),
        tuning=lambda wildcards, input: f"--tuning {folder(input.tuning)}" if input.tuning else "",
        revision=REVISIONS["tabulate"],
    shell:
        "exec altgrad tabulate --study - --corpus {params.corpus:q} --diagnostics {params.diagnostics:q}"
        " --runs {params.runs:q} {params.tuning} --out {params.out:q} <<< {params.study:q} > {log:q} 2>&1"


rule analyse:
    input:
        expand("<results>/tables/{table}.parquet", table=ANALYSIS_TABLES),
    output:
        expand("<results>/statistics/{table}.parquet", table=STATISTICS),
    log:
        "<logs>/analyse.log",
    benchmark:
        "<benchmarks>/analyse.tsv"
    conda:
        "../../envs/altgrad.yaml"
    params:
        tables=lambda wildcards, input: folder(input),
        out=lambda wildcards, output: folder(output),
        revision=REVISIONS["analyse"],
    shell:
        "exec altgrad analyse --tables {params.tables:q} --out {params.out:q} > {log:q} 2>&1"
