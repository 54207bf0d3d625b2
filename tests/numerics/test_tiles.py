"""On a CPU eager passes go tile by tile; on a GPU, where a launch is what costs, all at once."""

import pytest
import torch

from altgrad.numerics.compiling import TILE, tile_rows


@pytest.mark.parametrize(("width", "rows"), [(1, TILE), (1024, TILE // 1024), (TILE + 1, 1), (0, TILE)])
def test_a_tile_holds_whole_rows(width: int, rows: int) -> None:
    assert tile_rows(width, torch.device("cpu")) == rows
    assert tile_rows(width, torch.device("cuda")) * max(width, 1) > 2**40
