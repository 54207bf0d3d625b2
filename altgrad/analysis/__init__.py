"""From run folders to tidy tables and statistics. Free of torch."""
