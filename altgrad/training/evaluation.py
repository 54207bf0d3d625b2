"""Validation through the quantized weights, their scales frozen."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from altgrad.data.batches import Batch
from altgrad.training.environment import Environment


@torch.no_grad()
def validation_loss(
    model: nn.Module,
    forward: Callable[..., tuple[Tensor, Tensor]],
    batches: Sequence[Batch],
    environment: Environment,
) -> float:
    """Return the mean loss over fixed batches, in nats (METR-01); the model is left in eval mode.

    Args:
        model: The model.
        forward: The model, or its compiled form.
        batches: Inputs and targets.
        environment: Where it computes.
    """
    model.eval()
    losses = []
    for x, y in batches:
        with environment.autocast_context():
            losses.append(forward(x.to(environment.device), y.to(environment.device))[1])
    return float(torch.stack(losses).double().mean())


def perplexity(loss: float) -> float:
    """Return `exp(loss)` for a loss in nats (METR-02); Inf where it exceeds a double."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf
