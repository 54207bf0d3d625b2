from pathlib import Path

import pytest

from altgrad.analysis.analyse import analyse_study
from altgrad.analysis.tables import Tables
from altgrad.analysis.tabulate import tabulate_study
from altgrad.study.config import StudyConfig
from tests.analysis.fabricate import CORPUS_META, Loss, RatesOf, fabricate


class Pipeline:
    """Fabricates a study's runs and takes them through tables and statistics, in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, study: StudyConfig, loss: Loss, rates: RatesOf | None = None) -> Tables:
        folders = fabricate(study, self.folder, loss, rates, diagnostics=True)
        frames = tabulate_study(study, folders, diagnostics=self.folder / "diagnostics", corpus_meta=CORPUS_META)
        return Tables.of({**frames, **analyse_study(Tables.of(frames))})


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return Pipeline(tmp_path)
