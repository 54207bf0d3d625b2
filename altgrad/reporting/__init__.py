"""Reports rendered from tables. Templates compute nothing."""
