"""From files to a typed study: overlays, names of studies, and the one line for everything that is refused."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from altgrad.errors import ConfigError
from altgrad.study.config import StudyConfig
from altgrad.study.grid import canonical_json, study_runs
from altgrad.study.loading import find, load_config, load_study, merge, schema_text
from altgrad.study.runs import RunConfig

ROOT = Path(__file__).parents[2]
Data = dict[str, Any]


def write(folder: Path, data: Data, name: str = "study.yaml") -> Path:
    path = folder / name
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path


def put(data: Data, key: str, value: object) -> Data:
    """Return a copy of `data` with the value at a dotted key replaced."""
    changed = copy.deepcopy(data)
    section: Any = changed
    *parents, last = key.split(".")
    for parent in parents:
        section = section[int(parent)] if isinstance(section, list) else section[parent]
    section[int(last) if isinstance(section, list) else last] = value
    return changed


REFUSED: dict[str, tuple[str, object, str]] = {
    "unknown key": ("training.stepz", 3, "training.stepz: unknown key. Did you mean steps."),
    "unknown key at the top": ("trainin", 3, "trainin: unknown key. Did you mean training."),
    "unknown key in a list": ("grids.0.format", 3, "grids.0.format: unknown key. Did you mean formats."),
    "unknown key in a mapping": ("updates.adamw.metricc", 3, "updates.adamw.metricc: unknown key. Did you mean metric"),
    "unknown key in an optional section": (
        "training.early_stop",
        {"losss": 3},
        "training.early_stop.losss: unknown key. Did you mean loss.",
    ),
    "unknown key like no other": (
        "quantization",
        {"zzz": 1},
        "quantization.zzz: unknown key. Known keys here: scaling, history, per_row, power_of_two, input, grad_output.",
    ),
    "a word for a number": (
        "training.steps",
        "many",
        "training.steps: 'many' is given. Allowed: input should be a val",
    ),
    "no for a number": (
        "grids.0.lrs",
        [False],
        "grids.0.lrs.0: False is a truth value (YAML reads yes, no, on and off",
    ),
    "no for a name": ("grids.0.formats", [False], "grids.0.formats.0: False is a truth value"),
    "NaN": ("grids.0.lrs.1", float("nan"), "grids.0.lrs.1: nan is given. Allowed: input should be a finite number."),
    "1e300": ("grids.0.lrs.0", 1e300, "grids.0.lrs.0: 1e+300 is given. Allowed: input should be less than or equal to"),
    "infinity": (
        "training.grad_clip",
        float("inf"),
        "training.grad_clip: inf is given. Allowed: input should be a fin",
    ),
    "zero steps": (
        "training.steps",
        0,
        "training.steps: 0 is given. Allowed: input should be greater than or equal to 1",
    ),
    "another word": (
        "training.device",
        "tpu",
        "training.device: 'tpu' is given. Allowed: input should be 'auto', 'cpu'",
    ),
    "unknown format": ("grids.0.formats.1", "E4M4", "E4M4"),
    "unknown update": ("grids.0.updates.1", "sgd", "grids.0.updates: sgd is not defined; defined are adamw, manifold"),
    "E out of range": (
        "formats",
        {"Mine": {"exponent_bits": 9, "mantissa_bits": 1}},
        "formats.Mine.exponent_bits: 9 is",
    ),
    "E and M over 8 bits": ("formats", {"Mine": {"exponent_bits": 5, "mantissa_bits": 5}}, "formats.Mine: "),
    "a bias beyond float32": (
        "formats",
        {"Mine": {"exponent_bits": 4, "mantissa_bits": 3, "bias": 999}},
        "formats.Mine: ",
    ),
    "a seed twice": ("grids.0.seeds", [1, 2, 1], "grids.0: seeds: 1 stands there twice; name each value once"),
    "a path for a name": (
        "study",
        "../../evil",
        "study: '../../evil' is given. Allowed: use letters, digits, . _ and -",
    ),
    "a dot for a name": ("corpus.name", "..", "corpus.name: '..' is given. Allowed: use letters, digits"),
    "a folder of the main study": (
        "study",
        "runs",
        "study: 'runs' is a folder or report of the main study; choose another name",
    ),
    "heads that do not divide": ("model.n_head", 3, "model: n_embd 8 is not a multiple of n_head 3"),
    "a misspelled key that is missing": (
        "grids.0",
        {"format": ["E4M3"]},
        "grids.0.format: unknown key (4 more after it)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_named_in_one_line(tmp_path: Path, study_data: Data, case: str) -> None:
    key, value, message = REFUSED[case]
    path = write(tmp_path, put(study_data, key, value))
    with pytest.raises(ConfigError) as caught:
        load_study([path])
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_key_and_several_errors_are_counted(tmp_path: Path, study_data: Data) -> None:
    del study_data["training"]["steps"]
    study_data["training"]["batch_size"] = "x"
    with pytest.raises(ConfigError, match=r"training\.steps: it is missing \(1 more after it\)\. Give it a value\."):
        load_study([write(tmp_path, study_data)])


def test_a_run_id_that_is_too_long_for_a_folder_is_refused(tmp_path: Path, study_data: Data) -> None:
    name = "a" * 40
    long = put(put(study_data, "layer_types", {name: ["*"], "all": ["*"]}), "grids.0.layers", [name])
    with pytest.raises(
        ConfigError, match=rf"grids: the run id E4M3-adamw-master-{name}-lr0\.001-s2 has 69 characters, and"
    ):
        load_study([write(tmp_path, long)])


def test_numbers_as_people_write_them_are_numbers(tmp_path: Path, study_data: Data) -> None:
    text = yaml.safe_dump(put(study_data, "grids.0.lrs", ["LR"])).replace("LR", "1e-4")
    path = tmp_path / "study.yaml"
    path.write_text(text)
    assert load_study([path]).grids[0].lrs == (1e-4,)


def test_overlays_merge_mappings_and_replace_lists(tmp_path: Path, study_data: Data) -> None:
    base = write(tmp_path, study_data)
    overlay = write(
        tmp_path,
        {"study": "other", "training": {"steps": 7}, "grids": [{**study_data["grids"][0], "seeds": [5]}]},
        "overlay.yaml",
    )
    study = load_study([base, overlay], {"study": "third", "training": {"batch_size": 2}})
    assert study.study == "third"
    assert (study.training.steps, study.training.batch_size) == (7, 2)
    assert [grid.seeds for grid in study.grids] == [(5,)]
    assert study.model == load_study([base]).model


def test_merge_agrees_with_snakemake() -> None:
    from snakemake.utils import update_config

    base = {"a": {"b": 1, "c": [1, 2]}, "d": 1, "e": {"f": 2}, "g": {"h": {"i": 1}}}
    overlay = {"a": {"c": [3]}, "d": {"x": 1}, "e": 5, "g": {"h": {"j": 2}}, "k": {"l": None}}
    expected = copy.deepcopy(base)
    update_config(expected, overlay)
    assert merge(base, overlay) == expected


def test_an_overlay_names_its_own_study(tmp_path: Path, study_data: Data) -> None:
    base = write(tmp_path, study_data)
    nameless = write(tmp_path, {"training": {"steps": 7}}, "nameless.yaml")
    same = write(tmp_path, {"study": "small", "training": {"steps": 7}}, "same.yaml")
    with pytest.raises(
        ConfigError, match=r"nameless\.yaml: study: it is missing, and the runs would mix.*a study name"
    ):
        load_study([base, nameless])
    with pytest.raises(ConfigError, match=r"same\.yaml: study: 'small' is already the study of .*study\.yaml\. Choose"):
        load_study([base, same])
    with pytest.raises(ConfigError, match=r"--config: study: it is missing"):
        load_study([base], {"training": {"steps": 7}})


def test_an_error_names_the_file_that_the_value_came_from(tmp_path: Path, study_data: Data) -> None:
    bad = put(study_data, "model.n_layer", 0)
    overlay = write(tmp_path, {"study": "other", "training": {"steps": 7}}, "overlay.yaml")
    with pytest.raises(ConfigError, match=r"study\.yaml: model\.n_layer: 0 is given"):
        load_study([write(tmp_path, bad), overlay])
    broken = write(tmp_path, {"study": "other", "training": {"steps": 0}}, "broken.yaml")
    with pytest.raises(ConfigError, match=r"broken\.yaml: training\.steps: 0 is given"):
        load_study([write(tmp_path, study_data), broken])


def test_a_run_config_survives_its_journey_as_json(tmp_path: Path, study_data: Data) -> None:
    study = load_study(
        [write(tmp_path, put(study_data, "formats", {"Mine": {"exponent_bits": 2, "mantissa_bits": 3}}))]
    )
    for run in study_runs(study):
        path = tmp_path / "run.json"
        path.write_text(canonical_json(run))
        assert load_config(RunConfig, path) == run


def test_find_offers_the_nearest_ids(tmp_path: Path, study_data: Data) -> None:
    runs = {run.run_id: run for run in study_runs(load_study([write(tmp_path, study_data)]))}
    assert find(runs, "E4M3-adamw-master-all-lr0.001-s1", "run", "small").seed == 1
    with pytest.raises(
        ConfigError, match=r"'E4M3-adamw-master-all-lr0\.001-s9': study 'small' has no such run\. Nearest"
    ):
        find(runs, "E4M3-adamw-master-all-lr0.001-s9", "run", "small")


def test_the_schema_file_is_the_config_types() -> None:
    path = ROOT / "workflow" / "schemas" / "config.schema.json"
    assert path.read_text(encoding="utf-8") == schema_text(), "run `make schema`"


def test_the_schema_is_closed_and_takes_the_studies_of_the_project() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(json.loads(schema_text()))
    main = yaml.safe_load((ROOT / "config.yaml").read_text())
    validator.validate(main)
    with pytest.raises(jsonschema.ValidationError, match="'stepz' was unexpected"):
        validator.validate(merge(main, {"training": {"stepz": 1}}))


@pytest.mark.parametrize("overlay", sorted(path.name for path in (ROOT / "workflow" / "studies").iterdir()))
def test_every_study_of_the_project_reads(overlay: str) -> None:
    main = load_study([ROOT / "config.yaml"])
    study = load_study([ROOT / "config.yaml", ROOT / "workflow" / "studies" / overlay])
    assert isinstance(study, StudyConfig)
    assert main.folder == "" and study.folder == study.study == Path(overlay).stem
