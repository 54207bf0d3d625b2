import numpy as np
import pytest
import torch

from altgrad.data.batches import BatchSampler, eval_batches
from altgrad.errors import CorpusError

TOKENS = np.arange(1000, dtype=np.uint16)


def draw(sampler, count):
    return [tuple(part.clone() for part in sampler.next()) for _ in range(count)]


def equal(a, b):
    return all(torch.equal(x, u) and torch.equal(y, v) for (x, y), (u, v) in zip(a, b, strict=True))


def test_targets_are_the_next_tokens():
    x, y = BatchSampler(TOKENS, 4, 16, seed=1).next()
    assert x.shape == y.shape == (4, 16) and x.dtype == y.dtype == torch.int64
    assert x.is_contiguous() and y.is_contiguous()
    assert torch.equal(y, x + 1)  # the tokens count up
    assert torch.equal(x, x[:, :1] + torch.arange(16))


def test_batches_are_a_function_of_the_seed_alone():
    one = BatchSampler(TOKENS, 4, 16, seed=1)
    torch.manual_seed(123)
    first = draw(one, 3)
    torch.manual_seed(456)
    torch.rand(7)
    other = BatchSampler(TOKENS, 4, 16, seed=1)
    before = torch.random.get_rng_state()
    assert equal(first, draw(other, 3))
    assert torch.equal(before, torch.random.get_rng_state())
    assert not equal(first, draw(BatchSampler(TOKENS, 4, 16, seed=2), 3))


def test_a_saved_sampler_goes_on_exactly(tmp_path):
    sampler = BatchSampler(TOKENS, 4, 16, seed=1)
    draw(sampler, 5)
    torch.save(sampler.state_dict(), tmp_path / "state.pt")
    expected = draw(sampler, 5)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed = BatchSampler(TOKENS, 4, 16, seed=99)
    resumed.load_state_dict(state)
    assert equal(expected, draw(resumed, 5))
    assert resumed.count == sampler.count == 10


@pytest.mark.parametrize("field", ["generator", "count"])
def test_each_saved_field_matters(field):
    sampler, fresh = BatchSampler(TOKENS, 4, 16, seed=1), BatchSampler(TOKENS, 4, 16, seed=1)
    draw(sampler, 5)
    state = sampler.state_dict() | {field: fresh.state_dict()[field]}
    fresh.load_state_dict(state)
    assert not (equal(draw(sampler, 2), draw(fresh, 2)) and sampler.count == fresh.count)


def test_every_position_is_as_likely():
    """10 positions, 20,000 draws: each count is within 5 sigma (sigma = sqrt(20000 * 0.1 * 0.9) = 42.4) of 2,000."""
    sampler = BatchSampler(np.arange(14, dtype=np.uint16), 1000, 4, seed=3)
    starts = torch.cat([sampler.next()[0][:, 0] for _ in range(20)])
    counts = torch.bincount(starts, minlength=10)
    assert len(counts) == 10
    assert (counts - 2000).abs().max() < 5 * 42.4


def test_one_window_fits_exactly():
    x, y = BatchSampler(np.arange(9, dtype=np.uint16), 2, 8, seed=0).next()
    assert x.tolist() == [list(range(8))] * 2 and y[0, -1] == 8


def test_ids_above_int16_survive():
    tokens = np.array([65_535, 40_000, 0], dtype=np.uint16)
    x, y = BatchSampler(tokens, 1, 2, seed=0).next()
    assert x.tolist() == [[65_535, 40_000]] and y.tolist() == [[40_000, 0]]


@pytest.mark.parametrize("make", [lambda t: BatchSampler(t, 2, 8, seed=0), lambda t: eval_batches(t, 2, 8, 1)])
def test_a_stream_shorter_than_a_window_is_refused(make, tmp_path):
    np.arange(8, dtype=np.uint16).tofile(tmp_path / "val.bin")
    with pytest.raises(CorpusError) as error:
        make(np.memmap(tmp_path / "val.bin", dtype=np.uint16, mode="r"))
    assert str(error.value) == (
        f"{tmp_path}/val.bin: its 8 tokens are too few for block_size 8 and one target. "
        "Give at least 9 tokens (more documents), or lower block_size."
    )


def test_evaluation_windows_are_spread_evenly_from_end_to_end():
    batches = eval_batches(TOKENS, batch_size=3, block_size=9, n=4)
    starts = torch.cat([x[:, 0] for x, _ in batches])
    # 12 windows over the 991 starts 0 .. 990: every 90.
    assert starts.tolist() == [90 * window for window in range(12)]
    assert batches[-1][1][-1, -1] == 999
    assert all(torch.equal(y, x + 1) for x, y in batches)
    assert equal(batches, eval_batches(TOKENS, 3, 9, 4))


def test_evaluation_of_a_short_stream_overlaps():
    ((x, _),) = eval_batches(np.arange(5, dtype=np.uint16), batch_size=3, block_size=3, n=1)
    assert x[:, 0].tolist() == [0, 0, 1]
