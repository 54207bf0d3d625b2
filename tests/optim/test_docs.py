"""The guide's example of an optimizer of one's own is a whole one."""

import re
from pathlib import Path

import torch

GUIDE = Path(__file__).parents[2] / "docs" / "optimizers.md"


def test_the_guides_own_optimizer_steps_counts_and_resumes():
    examples = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict = {}
    exec(compile(examples[-1], str(GUIDE), "exec"), names)
    weight = torch.nn.Parameter(torch.tensor([[1.0, -1.0]]))
    optimizer = names["SignSGD"]([{"params": [weight], "fmt": "E4M3"}], lr=0.25, storage="nearest", count=True)
    weight.grad = torch.tensor([[3.0, 0.0]])
    optimizer.step()
    assert weight.tolist() == [[0.75, -1.0]]
    assert optimizer.take_counts()[0].tolist()[:3] == [1, 1, 1]
    optimizer.load_state_dict(optimizer.state_dict())
