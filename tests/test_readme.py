"""The front documents: their Python runs, their links lead somewhere, their commands exist."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import altgrad as ag

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_readmes_python_runs_and_does_what_it_says() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        exec(block, names)
    assert names["fmt"].max == 448.0
    assert torch.equal(ag.quantize(names["y"], names["fmt"]), names["y"])
    found = {}
    for name, weight, scaler in ag.nn.named_quantized_weights(names["model"]):
        found[name] = scaler.fmt.name
        assert torch.equal(ag.quantize(weight, scaler.fmt, scale=scaler.scale), weight), name
    assert {found[name] for name in found if name.startswith("linear")} == {"E3M4"}
    assert {found[name] for name in found if name.startswith("self_attn")} == {"E4M3"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            path, _, anchor = target.partition("#")
            linked = document.parent / path if path else document
            assert linked.exists(), target
            if anchor:
                headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
                assert anchor in {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings}, target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_make_targets_and_verbs_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^    |`)make ([a-z]+)", text, re.MULTILINE)) <= targets
    verbs = {path.stem for path in (ROOT / "altgrad" / "cli").glob("*.py")} - {"main", "__init__"}
    assert set(re.findall(r"(?:^    |`)altgrad ([a-z]+)", text, re.MULTILINE)) <= verbs
