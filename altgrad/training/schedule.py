"""The learning rate as a pure function of the step, so that it needs no state of its own."""

import math

from altgrad.study.sections import TrainingConfig


def lr_factor(step: int, config: TrainingConfig) -> float:
    """Return the share of the peak learning rate for one step: linear warm-up, then a cosine (SGDR, arXiv 1608.03983).

    Args:
        step: Zero-based index of the optimizer step about to be made.
        config: The training section: `steps`, `warmup_steps`, `final_lr_fraction`.

    Returns:
        A factor in (0, 1]; 1 at the end of the warm-up, `final_lr_fraction` at the last step.
    """
    if step < config.warmup_steps:
        return (step + 1) / (config.warmup_steps + 1)
    progress = (step - config.warmup_steps) / max(1, config.steps - 1 - config.warmup_steps)
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
    return config.final_lr_fraction + (1.0 - config.final_lr_fraction) * cosine
