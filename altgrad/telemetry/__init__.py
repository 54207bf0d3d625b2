"""What a run measures, and the files that record it."""
