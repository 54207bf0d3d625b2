"""From a study to its runs: every combination once, with an id that names it and a hash of what decides its results."""

import itertools
import json
from typing import Any

import pytest

from altgrad.errors import ConfigError
from altgrad.numerics.format import FloatFormat
from altgrad.study.config import StudyConfig, is_valid_id
from altgrad.study.grid import arm_name, canonical_json, config_hash, result_fields, study_arms, study_runs, trial_id
from altgrad.study.sections import ID_PATTERN

Data = dict[str, Any]


def study_of(data: Data, **changes: object) -> StudyConfig:
    return StudyConfig.model_validate({**data, **changes})


def test_a_grid_is_the_product_of_its_factors(study_data: Data) -> None:
    runs = study_runs(study_of(study_data))
    expected = [("BF16", "adamw", "master", 1e-3, seed) for seed in (1, 2)]
    expected += itertools.product(["E4M3", "E5M2"], ["adamw", "manifold"], ["master", "nearest"], [1e-3, 2e-3], [1, 2])
    assert [(run.format, run.update, run.storage, run.lr, run.seed) for run in runs] == expected
    assert [run.role for run in runs] == ["baseline"] * 2 + ["grid"] * 32
    assert len({run.run_id for run in runs}) == len(runs)
    assert all(is_valid_id(run.run_id) for run in runs)


def test_a_combination_in_two_grids_is_one_run(study_data: Data) -> None:
    twice = study_of(study_data, grids=study_data["grids"] * 2)
    assert study_runs(twice) == study_runs(study_of(study_data))


def test_a_format_and_its_alias_are_one_run(study_data: Data) -> None:
    aliased = study_of(study_data, grids=[{**study_data["grids"][0], "formats": ["E4M3", "float8_e4m3fn"]}])
    plain = study_of(study_data, grids=[{**study_data["grids"][0], "formats": ["E4M3"]}])
    assert study_runs(aliased) == study_runs(plain)


def test_rates_that_print_alike_are_refused(study_data: Data) -> None:
    grids = [{**study_data["grids"][0], "lrs": [1e-3, 1.0000001e-3]}]
    with pytest.raises(ConfigError, match=r"two different runs have the id E4M3-adamw-master-all-lr0\.001-s1\. Make"):
        study_runs(study_of(study_data, grids=grids))


def test_a_study_without_adamw_is_refused(study_data: Data) -> None:
    grids = [{**study_data["grids"][0], "updates": ["manifold"]}]
    updates = {"manifold": study_data["updates"]["manifold"]}
    with pytest.raises(ConfigError, match=r"updates: adamw is missing or has a metric\. The baseline and"):
        study_runs(study_of(study_data, updates=updates, grids=grids))


@pytest.mark.parametrize(
    ("lr", "name"),
    [(1e-3, "0.001"), (1e-4, "0.0001"), (1e-5, "1e-05"), (2.0, "2"), (1e6, "1e06"), (123456.0, "123456")],
)
def test_run_ids_are_folder_names(lr: float, name: str) -> None:
    identity = f"{arm_name('E4M3', 'adamw', 'master', 'all', lr)}-s3"
    assert identity == f"E4M3-adamw-master-all-lr{name}-s3"
    assert is_valid_id(identity)


@pytest.mark.parametrize("text", ["", ".", "..", "../evil", "a/b", "a b", "-rf", "a\n", "ä", "a" * 65, "$(ls)", "a;b"])
def test_no_other_path_is_a_run_id(text: str) -> None:
    assert not is_valid_id(text)
    assert ID_PATTERN.startswith("^") and ID_PATTERN.endswith("$")


def test_canonical_json_is_sorted_and_complete(study_data: Data) -> None:
    run = study_runs(study_of(study_data))[5]
    text = canonical_json(run)
    assert json.loads(text) == run.model_dump(mode="json")
    assert list(json.loads(text)) == sorted(json.loads(text))
    assert " " not in text.replace(run.study, "")


def test_the_hash_follows_what_decides_results_and_nothing_else(study_data: Data) -> None:
    def hashes(**changes: object) -> list[str]:
        return [config_hash(run) for run in study_runs(study_of(study_data, **changes))]

    base = hashes()
    assert len(set(base)) == len(base)
    training, telemetry = study_data["training"], {"wandb": {"mode": "disabled"}}
    assert hashes(study="elsewhere", title="Another") == base
    assert hashes(training={**training, "checkpoint_every": 7}) == base
    assert hashes(telemetry=telemetry) == base
    for changes in (
        {"training": {**training, "steps": 21}},
        {"training": {**training, "threads": 2}},
        {"telemetry": {"window": 5}},
        {"quantization": {"per_row": True}},
        {"model": {**study_data["model"], "dropout": 0.1}},
    ):
        assert not set(hashes(**changes)) & set(base)


def test_another_seed_adds_runs_and_changes_none(study_data: Data) -> None:
    before = {run.run_id: canonical_json(run) for run in study_runs(study_of(study_data))}
    more = study_of(study_data, grids=[{**study_data["grids"][0], "seeds": [1, 2, 3]}])
    after = {run.run_id: canonical_json(run) for run in study_runs(more)}
    assert before.items() <= after.items()
    assert {name.rsplit("-", 1)[1] for name in after.keys() - before.keys()} == {"s3"}


def test_result_fields_are_dotted_and_flat(study_data: Data) -> None:
    fields = result_fields(study_runs(study_of(study_data))[0])
    assert fields["training.steps"] == 20 and fields["update_spec.metric_power"] == 0.0
    assert not any(isinstance(value, dict) and value for value in fields.values())


def test_a_users_own_format_reaches_its_runs(study_data: Data) -> None:
    mine = {"Mine": {"exponent_bits": 3, "mantissa_bits": 2, "bias": 5}}
    study = study_of(study_data, formats=mine, grids=[{**study_data["grids"][0], "formats": ["Mine"]}])
    run = study_runs(study)[-1]
    assert run.float_format() == FloatFormat(name="Mine", exponent_bits=3, mantissa_bits=2, bias=5)
    assert study_runs(study)[0].float_format().name == "BF16"


def tuned_study(data: Data, **tuning: object) -> StudyConfig:
    grid = {key: value for key, value in data["grids"][0].items() if key != "lrs"}
    rule = {"lowest_lr": 1e-3, "start": 3, "max_lrs": 8, "seeds": [101], **tuning}
    return study_of(data, grids=[grid], tuning=rule, baseline={"seeds": [1, 2]})


def test_an_arm_without_a_rate_has_runs_once_it_is_tuned(study_data: Data) -> None:
    study = tuned_study(study_data)
    arms = study_arms(study)
    assert [arm.arm for arm in arms[:2]] == ["BF16-adamw-master-all", "E4M3-adamw-master-all"]
    assert study_runs(study) == []
    (one, two) = study_runs(study, {"E4M3-adamw-master-all": 2e-3})
    assert (one.run_id, one.lr, one.seed) == ("E4M3-adamw-master-all-s1", 2e-3, 1) and two.seed == 2
    assert trial_id(arms[1], 2e-3, 101) == "E4M3-adamw-master-all-lr0.002-s101"


def test_an_arm_in_two_grids_has_the_seeds_of_both(study_data: Data) -> None:
    grid = study_data["grids"][0]
    both = study_of(study_data, grids=[grid, {**grid, "formats": ["E4M3"], "seeds": [2, 3]}])
    assert {arm.seeds for arm in study_arms(both) if arm.format == "E4M3"} == {(1, 2, 3)}
    assert {arm.seeds for arm in study_arms(both) if arm.format == "E5M2"} == {(1, 2)}


def test_a_seed_that_tunes_is_not_evaluated(study_data: Data) -> None:
    with pytest.raises(ValueError, match=r"tuning\.seeds: 2 is evaluated too, and a seed that chose"):
        tuned_study(study_data, seeds=[101, 2])


def test_rates_are_left_out_only_where_tuning_finds_them(study_data: Data) -> None:
    grid = {key: value for key, value in study_data["grids"][0].items() if key != "lrs"}
    with pytest.raises(ValueError, match=r"tuning: a grid without lrs needs it"):
        study_of(study_data, grids=[grid])


def test_the_unit_of_a_tuned_rate_changes_no_result(study_data: Data) -> None:
    scaled = {**study_data["updates"]["adamw"], "lr_scale": 8.0}
    study = study_of(study_data, updates={**study_data["updates"], "adamw": scaled})
    assert [config_hash(run) for run in study_runs(study)] == [config_hash(r) for r in study_runs(study_of(study_data))]
