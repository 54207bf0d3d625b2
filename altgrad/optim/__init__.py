"""Optimizers whose steps follow the geometry of the grid."""

from altgrad.optim.base import GridOptimizer
from altgrad.optim.counting import COUNTERS
from altgrad.optim.groups import param_groups
from altgrad.optim.manifold_adamw import ManifoldAdamW
from altgrad.optim.rung_sgd import RungSGD

__all__ = ["COUNTERS", "GridOptimizer", "ManifoldAdamW", "RungSGD", "param_groups"]
