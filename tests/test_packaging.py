"""What is installed: every dependency is pinned, and nothing of one machine is in the pins."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LINES = (ROOT / "envs" / "requirements.txt").read_text().splitlines()
PINS = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in LINES) if version}


def test_every_line_is_a_plain_pin() -> None:
    for line in LINES:
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*", line), line


def test_every_direct_dependency_is_pinned_within_its_range() -> None:
    direct = [Requirement(text) for text in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"])]
    for requirement in direct:
        assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)]), requirement
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert Requirement(build[0]).specifier.contains(PINS["setuptools"])


def test_the_published_study_stays_small() -> None:
    """What .gitignore leaves out of it does not count."""
    folder = ROOT / "reports" / "reference"
    published = [path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".html", ".png")]
    assert sum(path.stat().st_size for path in published) < 10e6


def test_torch_is_pinned_exactly_and_to_no_build() -> None:
    assert "torch==2.13.0" in LINES
