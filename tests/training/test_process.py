import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from altgrad.training.process import Interrupts

CHILD = """
import sys, time
from pathlib import Path
from altgrad.training.process import Interrupts
interrupts = Interrupts()
Path(sys.argv[1]).write_text("ready")
while not interrupts.pending():
    time.sleep(0.02)
Path(sys.argv[1]).write_text(str(interrupts.pending()))
"""


def wait_for(path: Path, text: str, seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if path.exists() and path.read_text() == text:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_the_death_of_snakemake_behind_a_shell_is_noticed(tmp_path: Path) -> None:
    script, report = tmp_path / "snakemake", tmp_path / "report"
    (tmp_path / "child.py").write_text(CHILD)
    script.write_text(f"bash -c 'true | {sys.executable} {tmp_path}/child.py {report}; true'\n")
    workflow = subprocess.Popen(["bash", str(script)])
    assert wait_for(report, "ready")
    workflow.send_signal(signal.SIGKILL)
    workflow.wait()
    assert wait_for(report, str(int(signal.SIGTERM)))


def test_without_a_signal_nothing_is_pending_and_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    interrupts = Interrupts()
    assert interrupts.pending() == 0
    os.kill(os.getpid(), signal.SIGTERM)
    assert interrupts.pending() == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before
