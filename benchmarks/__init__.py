"""The benchmarks: AltGrad beside its peers and its own targets, as ratios."""
