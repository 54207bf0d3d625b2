from pathlib import Path

import pytest

from altgrad.errors import ConfigError
from altgrad.study.included import included_folders


def make_runs(base: Path, *names: str) -> None:
    for name in names:
        (base / name).mkdir(parents=True)
        (base / name / "summary.json").touch()


def test_globs_name_finished_runs_each_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_runs(tmp_path / "kept", "b", "a")
    (tmp_path / "kept" / "unfinished").mkdir()
    (tmp_path / "kept" / "file.txt").touch()
    monkeypatch.chdir(tmp_path)
    assert included_folders(["kept/*", "kept/a"], []) == [Path("kept/a"), Path("kept/b")]
    assert included_folders([f"{tmp_path}/kept/*"], []) == [tmp_path / "kept" / "a", tmp_path / "kept" / "b"]


def test_the_studys_own_runs_are_left_out(tmp_path: Path) -> None:
    make_runs(tmp_path, "planned", "left")
    assert included_folders([f"{tmp_path}/*"], [tmp_path / "planned"]) == [tmp_path / "left"]
    assert included_folders([f"{tmp_path}/planned"], [tmp_path / "planned"]) == []


@pytest.mark.parametrize("pattern", ["none/*", "empty"])
def test_a_glob_without_a_finished_run_is_refused(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"it matches no folder of a finished run\. Mend the glob"):
        included_folders([f"{tmp_path}/{pattern}"], [])
