"""One style, and one figure a file. Figures compute nothing."""
