"""Runs from elsewhere that a study takes into its tables: made by hand, or by an earlier config."""

import glob
from collections.abc import Iterable
from pathlib import Path

from altgrad.errors import ConfigError

SUMMARY = "summary.json"
"""What makes a folder a finished run: it is written last."""


def included_folders(patterns: Iterable[str], planned: Iterable[Path]) -> list[Path]:
    """Return the folders of finished runs that the globs of `include_runs` name, sorted, each once.

    Args:
        patterns: Globs, absolute or relative to the current folder.
        planned: The study's own run folders; a glob may cover them, and they are left out.

    Raises:
        ConfigError: A glob matches no finished run.
    """
    own = {folder.resolve() for folder in planned}
    found: dict[Path, None] = {}
    for pattern in patterns:
        matched = sorted(path for path in map(Path, glob.glob(pattern)) if (path / SUMMARY).is_file())
        if not matched:
            raise ConfigError(
                f"include_runs: {pattern}",
                "it matches no folder of a finished run",
                "Mend the glob or take it out; each folder that it names needs a summary.json",
            )
        found.update((path, None) for path in matched if path.resolve() not in own)
    return list(found)
