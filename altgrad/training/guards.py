"""Early stop on nonfinite values (STAB-02): a diverged run is a result, and its last good weights are kept."""

import math
from dataclasses import dataclass, field

from altgrad.study.sections import EarlyStopConfig

KINDS = ("loss", "gradient", "weight")


@dataclass
class NonfiniteGuard:
    """Counts, per kind, how many steps in a row saw a NaN or Inf.

    A step whose loss or gradient is not finite is not applied, so that the weights stay the last good ones.

    Attributes:
        patience: Steps in a row of each kind that end the run.
        streaks: Steps in a row so far, by kind.
    """

    patience: EarlyStopConfig
    streaks: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))

    def observe(self, kind: str, value: float) -> bool:
        """Take in one step's value (a loss, or a norm that is nonfinite when any element is).

        Args:
            kind: `loss`, `gradient` or `weight`.
            value: The value.

        Returns:
            Whether the value is finite.
        """
        finite = math.isfinite(value)
        self.streaks[kind] = 0 if finite else self.streaks[kind] + 1
        return finite

    def diverged(self) -> str | None:
        """Return the kind whose patience is used up, or None."""
        for kind in KINDS:
            if self.streaks[kind] >= getattr(self.patience, kind):
                return kind
        return None

    def state_dict(self) -> dict[str, int]:
        """Return the streaks, for the restart state."""
        return dict(self.streaks)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Restore the streaks from `state_dict`."""
        self.streaks = dict(state)
