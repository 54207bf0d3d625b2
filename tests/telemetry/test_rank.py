"""Ranks against NumPy's singular values and closed forms."""

import math

import numpy as np
import pytest
import torch

import altgrad as ag
from altgrad.errors import AltGradError
from altgrad.telemetry import rank
from altgrad.telemetry.rank import rank_statistics


def decaying(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    draws = np.random.default_rng(seed)
    side = min(rows, columns)
    u, v = (np.linalg.qr(draws.standard_normal((n, side)))[0] for n in (rows, columns))
    return (u * 0.9 ** np.arange(side)) @ v.T


@pytest.mark.parametrize("shape", [(40, 25), (25, 40), (33, 33)])
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_ranks_are_those_of_numpys_singular_values(shape: tuple[int, int], scale: float) -> None:
    matrix = decaying(*shape)
    s = np.linalg.svd(matrix, compute_uv=False)
    p = s / s.sum()
    W = torch.from_numpy(matrix * scale)
    assert ag.telemetry.stable_rank(W) == pytest.approx((s**2).sum() / s[0] ** 2, rel=1e-10)
    assert ag.telemetry.entropy_rank(W) == pytest.approx(math.exp(-(p * np.log(p)).sum()), rel=1e-10)
    for energy in (0.5, 0.9, 0.99):
        expected = int(np.searchsorted(np.cumsum(s**2) / (s**2).sum(), energy) + 1)
        assert ag.telemetry.effective_rank(W, energy) == expected


SPECTRA = {
    "flat": np.ones(450),
    "linear": np.linspace(1.0, 0.0, 450),
    "geometric": 0.9 ** np.arange(450),
    "one value": np.eye(1, 450)[0],
    **{f"spike over {level}": np.r_[1.0, np.full(449, level)] for level in (0.99, 0.95, 0.8)},
}


@pytest.mark.parametrize("name", SPECTRA)
def test_a_krylov_space_finds_the_norm_of_a_large_matrix(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The random directions have no preference, so diagonal matrices stand for all of a spectrum."""
    s = SPECTRA[name]
    monkeypatch.setattr(rank, "EXACT", 10)
    before = torch.get_rng_state()
    found = [
        ag.telemetry.stable_rank(W)
        for W in (torch.diag(torch.from_numpy(s)), torch.from_numpy(np.diag(s)[:, ::-1].copy()))
    ]
    assert found == pytest.approx([np.square(s).sum()] * 2, rel=0.01)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("rows", [6, 40, 300])
def test_the_entropy_rank_is_right_where_the_gram_matrix_is_too_coarse(rows: int) -> None:
    draws = np.random.default_rng(1)
    matrix = draws.standard_normal((rows, 2)) @ draws.standard_normal((2, 300))
    s = np.linalg.svd(matrix, compute_uv=False)
    p = s[:2] / s[:2].sum()
    expected = math.exp(-(p * np.log(p)).sum())
    assert ag.telemetry.entropy_rank(torch.from_numpy(matrix)) == pytest.approx(expected, rel=1e-9)
    assert ag.telemetry.effective_rank(torch.from_numpy(matrix), 1.0) == 2


@pytest.mark.parametrize("energy", [0.0, -1.0, 1.5, math.nan])
def test_a_share_that_is_none_is_refused(energy: float) -> None:
    with pytest.raises(AltGradError, match="is not a share"):
        ag.telemetry.effective_rank(torch.eye(2), energy)


def test_closed_forms() -> None:
    one = torch.outer(torch.arange(1.0, 9.0), torch.arange(1.0, 4.0))
    assert rank_statistics(one) == pytest.approx(dict.fromkeys(rank_statistics(one), 1.0), abs=1e-6)
    eye = torch.eye(7)
    assert rank_statistics(eye) == pytest.approx(dict.fromkeys(rank_statistics(eye), 7.0))
    assert ag.telemetry.stable_rank(torch.tensor(3.0)) == pytest.approx(1.0)  # a scalar is a 1 x 1 matrix
    assert ag.telemetry.effective_rank(torch.diag(torch.tensor([1.0, 1.0, 1e-3])), 1.0) == 3
    assert ag.telemetry.entropy_rank(torch.ones(2, 3, 4)) == pytest.approx(1.0, abs=1e-6)


def test_zeros_have_rank_zero_and_what_is_not_finite_none() -> None:
    for function in (ag.telemetry.stable_rank, ag.telemetry.effective_rank, ag.telemetry.entropy_rank):
        assert function(torch.zeros(3, 4)) == 0.0
        for bad in (torch.zeros(0, 4), torch.tensor([[1.0, math.nan]]), torch.tensor([[1.0, math.inf]])):
            assert math.isnan(function(bad))
    assert ag.telemetry.stable_rank(torch.full((2, 2), 1e-45)) == pytest.approx(1.0)
