"""`study.md`: the study's question, its answer, how sure it is, why, and what it cannot say."""
