# The baseline: the same training, with weights rounded to a reference format, under plain AdamW.
#
# in:  the corpus, and the run's slice of the config
# out: as rule train
use rule train as baseline with:
    wildcard_constraints:
        run=one_of(BASELINE_RUNS),


ruleorder: baseline > train
