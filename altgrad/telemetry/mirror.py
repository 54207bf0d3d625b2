"""The mirror to Weights & Biases (EXPR-02). It shows a run; the Parquet files are the record and it is never read back.

No failure of the mirror fails a run: without a network it goes offline, and says so.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from altgrad.study.grid import config_hash
from altgrad.study.runs import RunConfig

INIT_TIMEOUT_S = 5
"""Seconds that an online start may take before the mirror goes offline."""


class Mirror:
    """Logs run-level metrics to W&B, or to nothing.

    Args:
        run: The run; its telemetry section has the mode, project and tags.
        folder: Where W&B keeps its files.
        say: Takes messages for the user.
    """

    def __init__(self, run: RunConfig, folder: Path, say: Callable[[str], None]) -> None:
        self._say = say
        self._wandb: Any = None
        if run.telemetry.wandb.mode != "disabled":
            self._wandb = self._start(run, folder)

    def _start(self, run: RunConfig, folder: Path) -> Any:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            return _init(run, folder, run.telemetry.wandb.mode)
        except Exception as error:
            if run.telemetry.wandb.mode == "offline":
                self._say(f"warning: W&B could not start ({error}); the run goes on without its mirror")
                return None
            self._say(f"warning: W&B cannot be reached ({type(error).__name__}); mirroring offline to {folder}")
        try:
            import wandb

            wandb.teardown()  # the failed start still holds the run's id
            return _init(run, folder, "offline")
        except Exception as error:
            self._say(f"warning: W&B could not start offline either ({error}); the run goes on without its mirror")
            return None

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log run-level metrics of one step."""
        self._guarded(lambda: self._wandb.log({"step": step, **metrics}))

    def summarize(self, summary: Mapping[str, Any]) -> None:
        """Write the run's summary and close the mirror."""
        self._guarded(lambda: self._wandb.summary.update(dict(summary)))
        self.close()

    def close(self) -> None:
        """Close the mirror; a resumed run opens one of the same id."""
        self._guarded(lambda: self._wandb.finish())
        self._wandb = None

    def _guarded(self, call: Callable[[], object]) -> None:
        if self._wandb is None:
            return
        try:
            call()
        except Exception as error:
            self._say(f"warning: the W&B mirror stopped ({error}); the run goes on without it")
            self._wandb = None


def _init(run: RunConfig, folder: Path, mode: Literal["online", "offline", "disabled"]) -> Any:
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    section = run.telemetry.wandb
    handle = wandb.init(
        id=f"{run.run_id}-{config_hash(run)[:8]}",
        name=run.run_id,
        project=section.project,
        entity=section.entity,
        group=f"{run.study}/{run.format}-{run.update}-{run.storage}-{run.layers}",
        tags=[run.study, run.role, run.format, run.update, run.storage, *section.tags],
        config=run.model_dump(mode="json"),
        dir=str(folder),
        mode=mode,
        resume="allow" if mode == "online" else None,
        settings=wandb.Settings(
            init_timeout=INIT_TIMEOUT_S, console="off", silent=True, x_disable_stats=True, disable_job_creation=True
        ),
    )
    handle.define_metric("step")
    handle.define_metric("*", step_metric="step")
    return handle
