import numpy as np
import pytest

from altgrad.data.windows import eval_windows, positions
from altgrad.errors import CorpusError

TOKENS = np.arange(101, dtype=np.uint16)


def test_windows_reach_from_one_end_to_the_other() -> None:
    windows = eval_windows(TOKENS, block_size=20, n=5)
    assert windows.tolist() == [list(range(start, start + 21)) for start in (0, 20, 40, 60, 80)]
    assert eval_windows(TOKENS, block_size=20, n=1).tolist() == [list(range(21))]


def test_a_stream_of_one_window_has_one_position() -> None:
    assert positions(TOKENS, 100) == 1
    with pytest.raises(CorpusError, match="its 101 tokens are too few for block_size 101 and one target"):
        positions(TOKENS, 101)
