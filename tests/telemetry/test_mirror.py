import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from altgrad.telemetry import mirror as mirror_module
from altgrad.telemetry.mirror import Mirror
from tests.training.conftest import TINY

OFFLINE = """
import json, sys
from pathlib import Path
from altgrad.study.config import StudyConfig
from altgrad.study.grid import study_runs
from altgrad.telemetry.mirror import Mirror
tiny = json.loads(sys.argv[1])
said = []
mirror = Mirror(study_runs(StudyConfig.model_validate(tiny))[-1], Path(sys.argv[2]), said.append)
for step in (10, 20):
    mirror.log(step, {"train_loss": 5.0 / step})
mirror.summarize({"status": "finished", "val_loss": 0.25})
print(json.dumps(said))
"""


def start(folder: Path, mode: str) -> Any:
    study = {**TINY, "telemetry": {"wandb": {"mode": mode}}}
    return subprocess.run(
        [sys.executable, "-c", OFFLINE, json.dumps(study), str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "", "HOME": str(folder), "WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"},
    )


def test_offline_files_hold_what_was_logged(tmp_path: Path) -> None:
    result = start(tmp_path, "offline")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == []
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    data = file.read_bytes()
    assert b"train_loss" in data and b"E4M3-manifold-stochastic-all" in data


def test_no_network_falls_back_to_offline_and_says_so(tmp_path: Path) -> None:
    result = start(tmp_path, "online")
    assert result.returncode == 0, result.stderr
    (message,) = json.loads(result.stdout.splitlines()[-1])
    assert message.startswith("warning: W&B cannot be reached") and "mirroring offline" in message
    assert list(tmp_path.glob("wandb/offline-run-*"))


def test_a_mirror_that_breaks_does_not_break_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("socket closed")

    handle = SimpleNamespace(log=fail, finish=fail, summary={})
    monkeypatch.setattr(mirror_module, "_init", lambda *arguments: handle)
    said: list[str] = []
    from altgrad.study.config import StudyConfig
    from altgrad.study.grid import study_runs

    run = study_runs(StudyConfig.model_validate({**TINY, "telemetry": {}}))[-1]
    mirror = Mirror(run, tmp_path, said.append)
    mirror.log(1, {"train_loss": 1.0})
    mirror.log(2, {"train_loss": 1.0})
    mirror.close()
    assert said == ["warning: the W&B mirror stopped (socket closed); the run goes on without it"]
