"""The training loop, its restart state and its guards."""
