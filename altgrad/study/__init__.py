"""The study: its typed config and the runs that follow from it. Free of torch."""
