"""Optimizers whose steps follow the geometry of the grid."""
