# The corpus: documents to tokens.
#
# in:  the hub (source: eurlex), local files (source: files) or nothing (source: synthetic)
# out: results/corpus/<name>/{train.bin, val.bin, meta.json}
rule prepare:
    output:
        expand("<corpus>/{file}", file=CORPUS_FILES),
    log:
        "<logs>/prepare.log",
    benchmark:
        "<benchmarks>/prepare.tsv"
    conda:
        "../../envs/altgrad.yaml"
    params:
        config=STUDY.corpus.model_dump_json(),
        out=lambda wildcards, output: folder(output),
        revision=REVISIONS["prepare"],
    shell:
        "exec altgrad prepare --config - --out {params.out:q} <<< {params.config:q} > {log:q} 2>&1"
