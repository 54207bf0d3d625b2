# Figures and reports. Figures draw what the tables say, reports quote it; neither computes.
#
# in:  results/tables/*.parquet, results/statistics/*.parquet
# out: reports/figures/*.{svg,png} -> reports/{*.md, *.html}; reports/tables/*.csv
rule plot:
    input:
        tables=expand("<results>/tables/{table}.parquet", table=ANALYSIS_TABLES),
        statistics=expand("<results>/statistics/{table}.parquet", table=STATISTICS),
    output:
        [
            report(
                f"<reports>/figures/{name}.svg",
                caption="../report/figure.rst",
                category="Figures",
                labels={"figure": figure.title},
            )
            for name, figure in FIGURES.items()
        ],
        expand("<reports>/figures/{figure}.png", figure=FIGURES),
    log:
        "<logs>/plot.log",
    benchmark:
        "<benchmarks>/plot.tsv"
    conda:
        "../../envs/altgrad.yaml"
    params:
        tables=lambda wildcards, input: folder(input.tables),
        statistics=lambda wildcards, input: folder(input.statistics),
        out=lambda wildcards, output: folder(output),
        revision=REVISIONS["plot"],
    shell:
        "exec altgrad plot --tables {params.tables:q} --statistics {params.statistics:q} --out {params.out:q}"
        " > {log:q} 2>&1"


rule report:
    input:
        tables=expand("<results>/tables/{table}.parquet", table=ANALYSIS_TABLES),
        statistics=expand("<results>/statistics/{table}.parquet", table=STATISTICS),
        figures=expand("<reports>/figures/{figure}.svg", figure=FIGURES),
    output:
        [
            report(
                f"<reports>/{name}",
                caption="../report/report.rst",
                category="Reports",
                labels={"report": name},
            )
            for name in REPORTS
        ],
    log:
        "<logs>/report.log",
    benchmark:
        "<benchmarks>/report.tsv"
    conda:
        "../../envs/altgrad.yaml"
    params:
        tables=lambda wildcards, input: folder(input.tables),
        statistics=lambda wildcards, input: folder(input.statistics),
        figures=lambda wildcards, input: folder(input.figures),
        out=lambda wildcards, output: folder(output),
        revision=REVISIONS["report"],
    shell:
        "exec altgrad report --tables {params.tables:q} --statistics {params.statistics:q}"
        " --figures {params.figures:q} --out {params.out:q} > {log:q} 2>&1"


rule publish:
    input:
        tables=expand("<results>/tables/{table}.parquet", table=ANALYSIS_TABLES),
        statistics=expand("<results>/statistics/{table}.parquet", table=STATISTICS),
    output:
        expand("<reports>/tables/{table}.csv", table=PUBLISHED),
        "<reports>/tables/provenance.json",
    log:
        "<logs>/publish.log",
    benchmark:
        "<benchmarks>/publish.tsv"
    conda:
        "../../envs/altgrad.yaml"
    params:
        tables=lambda wildcards, input: folder(input.tables),
        statistics=lambda wildcards, input: folder(input.statistics),
        out=lambda wildcards, output: folder(output),
        revision=REVISIONS["report"],
    shell:
        "exec altgrad publish --tables {params.tables:q} --statistics {params.statistics:q} --out {params.out:q}"
        " > {log:q} 2>&1"
