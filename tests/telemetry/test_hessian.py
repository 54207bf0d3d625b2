"""The Hessian's spectrum against exact Hessians, NumPy's eigenvalues, curvlinops and closed forms."""

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from altgrad.errors import ModelError
from altgrad.models.gpt import GPT, GPTConfig
from altgrad.telemetry.hessian import HessianSpectrum, _hessian_product, hessian_spectrum

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it pulls in torch.jit
    from curvlinops import HessianLinearOperator
    from curvlinops.papyan2020traces.spectrum import fast_lanczos

Loss = Callable[[], Tensor]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def starts(size: int, vectors: int, seed: int = 0) -> np.ndarray:
    """Return the unit vectors (vectors, size) that the documented draws give."""
    generator = seeded(seed)
    draws = np.stack([torch.randn(size, generator=generator).double().numpy() for _ in range(vectors)])
    return draws / np.linalg.norm(draws, axis=1, keepdims=True)


def small_model(dtype: torch.dtype) -> tuple[nn.Module, Tensor, Tensor]:
    """Return an MLP of 67 parameters with a batch: four features, three classes."""
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).to(dtype)
    generator = seeded(1)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64))
    x = torch.randn(10, 4, generator=generator, dtype=torch.float64).to(dtype)
    return model, x, torch.randint(3, (10,), generator=generator)


def small_loss(dtype: torch.dtype = torch.float64) -> tuple[Loss, list[nn.Parameter], np.ndarray]:
    """Return the MLP's loss, its parameters, and the exact Hessian (67, 67) by torch's own."""
    model, x, y = small_model(dtype)
    params = list(model.parameters())
    sizes = [p.numel() for p in params]
    exact, ex, ey = small_model(torch.float64)

    def flat_loss(flat: Tensor) -> Tensor:
        parts = dict(zip(dict(exact.named_parameters()), flat.split(sizes), strict=True))
        shaped = {name: parts[name].view_as(p) for name, p in exact.named_parameters()}
        return nn.functional.cross_entropy(torch.func.functional_call(exact, shaped, (ex,)), ey)

    flat = torch.cat([p.detach().flatten() for p in exact.parameters()])
    hessian = torch.autograd.functional.hessian(flat_loss, flat).numpy()
    return lambda: nn.functional.cross_entropy(model(x), y), params, hessian


def quadratic(eigenvalues: list[float], dtype: torch.dtype = torch.float64) -> tuple[Loss, list[Tensor]]:
    """Return a loss whose Hessian is diagonal, and its parameters."""
    curvature = torch.tensor(eigenvalues, dtype=dtype)
    w = torch.ones(len(eigenvalues), dtype=dtype, requires_grad=True)
    return lambda: (curvature * w * w).sum() / 2, [w]


def test_with_all_steps_every_eigenvalue_is_exact() -> None:
    loss_fn, params, hessian = small_loss()
    true = np.linalg.eigvalsh(hessian)
    found = hessian_spectrum(loss_fn, params, steps=67, vectors=1, top=10, generator=seeded())
    np.testing.assert_allclose(found.top, true[::-1][:10], rtol=1e-8)
    assert found.lowest == pytest.approx(true[0], rel=1e-8)
    # The same shift of all three classes' weights and biases changes no loss: a null space of 9, which shows once.
    assert np.linalg.matrix_rank(hessian, 1e-12) == 58 and int((found.weights[0] > 0).sum()) == 59
    for node in found.nodes[0].numpy():
        assert np.abs(true - node).min() < 1e-10


def test_single_precision_is_exact_to_its_rounding() -> None:
    loss_fn, params, hessian = small_loss(torch.float32)
    true = np.linalg.eigvalsh(hessian)
    found = hessian_spectrum(loss_fn, params, steps=67, vectors=1, top=5, generator=seeded())
    np.testing.assert_allclose(found.top, true[::-1][:5], rtol=1e-5)
    assert found.top.dtype == found.nodes.dtype == torch.float64


@pytest.mark.parametrize("steps", [1, 2, 6, 12])
def test_few_steps_bound_the_eigenvalues_from_below(steps: int) -> None:
    loss_fn, params, hessian = small_loss()
    true = np.linalg.eigvalsh(hessian)
    found = hessian_spectrum(loss_fn, params, steps=steps, vectors=3, top=4, generator=seeded())
    top, residuals = found.top.numpy(), found.residuals.numpy()
    defined = ~np.isnan(top)
    assert defined.sum() == min(steps, 4) and (np.isnan(residuals) == ~defined).all()
    assert (top[defined] <= true[::-1][:4][defined] + 1e-12).all()
    assert found.lowest >= true[0] - 1e-12
    for value, residual in zip(top[defined], residuals[defined], strict=True):
        assert np.abs(true - value).min() <= residual + 1e-12


def test_residuals_are_those_of_the_ritz_vectors() -> None:
    loss_fn, params, hessian = small_loss()
    found = hessian_spectrum(loss_fn, params, steps=5, vectors=1, top=5, generator=seeded())
    powers = np.stack([np.linalg.matrix_power(hessian, k) @ starts(67, 1)[0] for k in range(5)], axis=1)
    basis, _ = np.linalg.qr(powers)
    values, vectors = np.linalg.eigh(basis.T @ hessian @ basis)
    ritz = basis @ vectors
    np.testing.assert_allclose(found.top, values[::-1], rtol=1e-8)
    residuals = np.linalg.norm(hessian @ ritz - ritz * values, axis=0)
    np.testing.assert_allclose(found.residuals, residuals[::-1], rtol=1e-6)


def test_the_quadrature_is_exact_for_its_degree() -> None:
    loss_fn, params, hessian = small_loss()
    found = hessian_spectrum(loss_fn, params, steps=4, vectors=3, generator=seeded())
    for v, start in enumerate(starts(67, 3)):
        for power in range(8):
            moment = (found.weights[v] * found.nodes[v] ** power).sum()
            assert float(moment) == pytest.approx(start @ np.linalg.matrix_power(hessian, power) @ start, rel=1e-10)


def test_the_mean_over_vectors_is_the_trace() -> None:
    loss_fn, params, hessian = small_loss()
    n, vectors = 67, 400
    found = hessian_spectrum(loss_fn, params, steps=1, vectors=vectors, generator=seeded())
    means = (found.weights * found.nodes).sum(1).numpy()
    variance = 2 / (n * (n + 2)) * ((hessian**2).sum() - np.trace(hessian) ** 2 / n)  # of v' H v on the unit sphere
    assert abs(means.mean() - np.trace(hessian) / n) < 4 * math.sqrt(variance / vectors)
    assert means.var(ddof=1) == pytest.approx(variance, rel=0.4)


def test_distinct_values_of_a_diagonal_are_the_nodes_and_their_share_the_weights() -> None:
    eigenvalues = [3.0] * 5 + [1.0] * 4 + [0.0] * 2 + [-2.0]
    loss_fn, params = quadratic(eigenvalues)
    found = hessian_spectrum(loss_fn, params, steps=9, vectors=2, top=5, generator=seeded())
    for v, start in enumerate(starts(12, 2)):
        np.testing.assert_allclose(found.nodes[v], [-2, 0, 1, 3, 3, 3, 3, 3, 3], atol=1e-12)
        share = [(start[np.array(eigenvalues) == value] ** 2).sum() for value in (-2, 0, 1, 3)]
        np.testing.assert_allclose(found.weights[v], [*share, 0, 0, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(found.top, [3, 1, 0, -2, np.nan], atol=1e-12)  # what repeats shows once
    np.testing.assert_allclose(found.residuals, [0, 0, 0, 0, np.nan], atol=1e-12)
    assert found.lowest == pytest.approx(-2)


def test_the_best_of_all_vectors_is_kept() -> None:
    loss_fn, params, _ = small_loss()
    found = hessian_spectrum(loss_fn, params, steps=4, vectors=3, top=4, generator=seeded())
    np.testing.assert_array_equal(found.top, np.sort(found.nodes.numpy())[:, ::-1].max(0))
    assert (found.nodes[0] < found.nodes.max(0).values).any()  # so that the first row alone would fail


def test_an_outlier_has_no_ghost() -> None:
    eigenvalues = [1e4, *np.linspace(0, 1, 60)]
    loss_fn, params = quadratic(eigenvalues, torch.float32)
    found = hessian_spectrum(loss_fn, params, steps=40, vectors=1, top=3, generator=seeded())
    np.testing.assert_allclose(found.top, [1e4, 1, 58 / 59], rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_rank_one_hessian(dtype: torch.dtype) -> None:
    a = torch.arange(1.0, 41.0, dtype=dtype)
    w = torch.zeros(40, dtype=dtype, requires_grad=True)
    found = hessian_spectrum(lambda: (a @ w) ** 2 / 2, [w], steps=6, vectors=2, top=2, generator=seeded())
    np.testing.assert_allclose(found.top, [40 * 41 * 81 / 6, 0], rtol=1e-6, atol=0.01)
    cosines = (starts(40, 2) @ a.double().numpy()) ** 2 / (40 * 41 * 81 / 6)
    np.testing.assert_allclose(found.weights.numpy()[found.nodes.numpy() > 1e4].reshape(2, -1).sum(1), cosines, 1e-5)
    np.testing.assert_allclose(found.weights.sum(1), 1)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_curvlinops_multiplies_alike() -> None:
    model, x, y = small_model(torch.float64)
    params = list(model.parameters())
    peer = HessianLinearOperator(model, nn.CrossEntropyLoss(), params, [(x, y)])
    vector = torch.randn(67, generator=seeded(), dtype=torch.float64)
    product = _hessian_product(lambda: nn.functional.cross_entropy(model(x), y), params)
    torch.testing.assert_close(product(vector), (peer @ vector).detach(), rtol=1e-12, atol=1e-14)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_curvlinops_finds_the_same_nodes() -> None:
    model, x, y = small_model(torch.float32)
    peer = HessianLinearOperator(model, nn.CrossEntropyLoss(), list(model.parameters()), [(x, y)])
    with torch.random.fork_rng():
        torch.manual_seed(0)  # it draws from the global generator: the same numbers
        nodes, components = fast_lanczos(peer, 6)
    loss_fn, params, _ = small_loss(torch.float32)
    found = hessian_spectrum(loss_fn, params, steps=6, vectors=1, generator=seeded())
    np.testing.assert_allclose(found.nodes[0], nodes.detach(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.weights[0], components.detach()[0] ** 2, rtol=1e-3, atol=1e-5)


def tiny_gpt() -> tuple[GPT, Tensor, Tensor]:
    model = GPT(GPTConfig(vocab_size=11, block_size=6, n_layer=2, n_head=2, n_embd=16), seeded()).double().eval()
    generator = seeded(1)
    return model, torch.randint(11, (3, 6), generator=generator), torch.randint(11, (3, 6), generator=generator)


def test_attention_is_differentiated_twice() -> None:
    model, x, y = tiny_gpt()
    params = list(model.parameters())
    size = sum(p.numel() for p in params)

    def gradient(offset: Tensor, step: float) -> Tensor:
        moved = {
            name: p.detach() + step * part.view_as(p)
            for (name, p), part in zip(model.named_parameters(), offset.split([p.numel() for p in params]), strict=True)
        }
        leaves = {name: tensor.requires_grad_() for name, tensor in moved.items()}
        loss = torch.func.functional_call(model, leaves, (x, y))[1]
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(leaves.values()))])

    vector = torch.randn(size, generator=seeded(2), dtype=torch.float64)
    difference = (gradient(vector, 1e-7) - gradient(vector, -1e-7)) / 2e-7
    product = _hessian_product(lambda: model(x, y)[1], params)
    torch.testing.assert_close(product(vector), difference, rtol=1e-5, atol=1e-6)
    found = hessian_spectrum(lambda: model(x, y)[1], params, steps=8, generator=seeded())
    assert bool(found.top.isfinite().all()) and found.lowest < 0 < found.top[0]


def same(a: HessianSpectrum, b: HessianSpectrum) -> bool:
    return all(np.array_equal(np.asarray(x), np.asarray(y), equal_nan=True) for x, y in zip(a, b, strict=True))


def test_it_leaves_no_trace_and_repeats() -> None:
    model, x, y = tiny_gpt()
    params = list(model.parameters())
    params[0].grad = torch.full_like(params[0], 7.0)
    before = [p.detach().clone() for p in params]
    calls = []

    def loss_fn() -> Tensor:
        calls.append(1)
        return model(x, y)[1]

    state, flash = torch.get_rng_state(), torch.backends.cuda.flash_sdp_enabled()
    first = hessian_spectrum(loss_fn, params, steps=3, generator=seeded())
    with torch.no_grad():
        again = hessian_spectrum(loss_fn, params, steps=3, generator=seeded())
    assert torch.equal(torch.get_rng_state(), state) and torch.backends.cuda.flash_sdp_enabled() == flash
    assert len(calls) == 2 and same(first, again)
    assert not same(first, hessian_spectrum(loss_fn, params, steps=3, generator=seeded(9)))
    assert all(p.requires_grad for p in params) and all(map(torch.equal, params, before))
    assert bool((params[0].grad == 7.0).all()) and all(p.grad is None for p in params[1:])


def test_pieces_of_the_basis_change_nothing_but_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    loss_fn, params, _ = small_loss()
    whole = hessian_spectrum(loss_fn, params, generator=seeded())
    monkeypatch.setattr("altgrad.telemetry.hessian._CHUNK", 10)
    pieces = hessian_spectrum(loss_fn, params, generator=seeded())
    torch.testing.assert_close(pieces.nodes, whole.nodes, rtol=1e-9, atol=1e-11)


def test_no_curvature_is_zero() -> None:
    a = torch.ones(5)
    w = torch.ones(5, requires_grad=True)
    for loss_fn in (lambda: a @ w, lambda: (a @ w) ** 2 * 0):
        found = hessian_spectrum(loss_fn, [w], steps=3, vectors=2, top=2, generator=seeded())
        assert found.nodes.tolist() == [[0.0] * 3] * 2 and found.weights.tolist() == [[1.0, 0.0, 0.0]] * 2
        assert found.lowest == 0.0
        np.testing.assert_array_equal(found.top, [0, np.nan])
        np.testing.assert_array_equal(found.residuals, [0, np.nan])


def test_parameters_that_the_loss_does_not_use_have_no_curvature() -> None:
    loss_fn, params = quadratic([2.0, 5.0])
    unused = torch.ones(3, 2, dtype=torch.float64, requires_grad=True)
    found = hessian_spectrum(loss_fn, [unused, *params], steps=9, vectors=1, top=3, generator=seeded())
    np.testing.assert_allclose(found.top, [5, 2, 0], atol=1e-12)
    share = (starts(8, 1)[0, :6] ** 2).sum()
    assert float(found.weights[0, 0]) == pytest.approx(share)


def test_one_parameter() -> None:
    loss_fn, params = quadratic([-4.0])
    found = hessian_spectrum(loss_fn, params, steps=3, vectors=1, top=1, generator=seeded())
    assert found.top.tolist() == found.nodes[0, :1].tolist() == [found.lowest] == [-4.0]
    assert found.weights.tolist() == [[1.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("size", "dtype", "rtol"),
    [(1e-200, torch.float64, 1e-9), (1e200, torch.float64, 1e-9), (1e-40, torch.float32, 1e-3)],
)
def test_extreme_sizes(size: float, dtype: torch.dtype, rtol: float) -> None:
    loss_fn, params = quadratic([3 * size, size, -size], dtype)
    found = hessian_spectrum(loss_fn, params, steps=5, vectors=1, top=2, generator=seeded())
    np.testing.assert_allclose(found.top / size, [3, 1], rtol=rtol)
    assert found.lowest / size == pytest.approx(-1, rel=rtol)


@pytest.mark.parametrize("factor", [math.nan, math.inf])
def test_what_is_not_finite_is_nan_everywhere(factor: float) -> None:
    loss_fn, params = quadratic([1.0, 2.0])
    found = hessian_spectrum(lambda: loss_fn() * factor, params, generator=seeded())
    assert math.isnan(found.lowest)
    for table in (found.top, found.residuals, found.nodes, found.weights):
        assert bool(table.isnan().all())
    assert found.top.shape == found.residuals.shape == (5,) and found.nodes.shape == found.weights.shape == (2, 12)


def test_no_parameters_have_no_spectrum() -> None:
    w = torch.empty(0, requires_grad=True)
    for params in ([], [w]):
        found = hessian_spectrum(lambda: w.sum(), params, steps=2, vectors=1, top=1, generator=seeded())
        assert bool(found.nodes.isnan().all()) and math.isnan(found.lowest)


@pytest.mark.parametrize("name", ["steps", "vectors", "top"])
def test_numbers_below_one_are_refused(name: str) -> None:
    loss_fn, params = quadratic([1.0])
    with pytest.raises(ModelError, match=rf"^{name}: 0 is not a number of {name}\. Give an integer of at least 1\.$"):
        hessian_spectrum(loss_fn, params, generator=seeded(), **{name: 0})


def test_a_loss_without_a_graph_is_refused() -> None:
    loss_fn, params = quadratic([1.0])
    for loss, tensors in ((lambda: loss_fn().detach(), params), (loss_fn, [*params, torch.ones(2)])):
        with pytest.raises(ModelError, match="does not depend on parameters that require gradients"):
            hessian_spectrum(loss, tensors, generator=seeded())
