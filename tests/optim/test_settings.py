"""Settings outside their range are refused, and the message says what is allowed."""

import math

import pytest
import torch

from altgrad.errors import OptimizerError, UnknownFormatError
from altgrad.numerics.scaling import Scaler
from altgrad.optim.manifold_adamw import ManifoldAdamW
from altgrad.optim.rung_sgd import RungSGD


def weight() -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.ones(2, 2))


def group(fmt="E4M3", **settings) -> list[dict]:
    return [{"params": [weight()], "fmt": fmt, **settings}]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -0.5}, "lr=-0.5 is not allowed. lr is a finite number in [0, inf), or a tensor of one"),
        ({"lr": math.nan}, "lr=nan is not allowed"),
        ({"lr": torch.tensor(-1.0)}, "lr=tensor(-1.) is not allowed"),
        ({"lr": True}, "lr=True is not allowed"),
        ({"betas": (0.9, 1.0)}, "betas=(0.9, 1.0) is not allowed. betas is two numbers in [0, 1)"),
        ({"betas": 0.9}, "betas=0.9 is not allowed"),
        ({"eps": 0.0}, "eps=0.0 is not allowed. eps is a finite number in (0, inf)"),
        ({"weight_decay": -1}, "weight_decay=-1 is not allowed"),
        ({"metric_power": 1.5}, "metric_power=1.5 is not allowed. metric_power is a finite number in [-1, 1]"),
        ({"precondition": "both"}, "precondition='both' is not allowed. precondition is one of update, gradient"),
        ({"storage": "disk"}, "storage='disk' is not allowed. storage is one of master, nearest, stochastic, eco"),
        ({"metric": "flat"}, "metric='flat' is not allowed. metric is one of ulp, smooth, permuted"),
        (
            {"permutation_seed": -1},
            "permutation_seed=-1 is not allowed. permutation_seed is an integer of at least 0",
        ),
        ({"permutation_seed": True}, "permutation_seed=True is not allowed"),
        ({"count": 1}, "count=1 is not allowed. count is True or False"),
    ],
)
def test_manifold_adamw_refuses(settings, message):
    with pytest.raises(OptimizerError) as error:
        ManifoldAdamW([weight()], **settings)
    assert str(error.value).startswith(f"ManifoldAdamW: {message}")
    with pytest.raises(OptimizerError) as error:
        ManifoldAdamW(group(**settings))
    assert str(error.value).startswith(f"ManifoldAdamW: {message}")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"momentum": 1.0}, "momentum=1.0 is not allowed. momentum is a finite number in [0, 1)"),
        ({"max_rungs": 0.0}, "max_rungs=0.0 is not allowed. max_rungs is a finite number in (0, inf)"),
        ({"storage": "nearest"}, "storage='nearest' would lose moves of under half a rung. Use stochastic or master"),
        (
            {"storage": "eco"},
            "storage='eco' with direction='rung', which takes back no rounding error. "
            "Set another storage for this group",
        ),
    ],
)
def test_rung_sgd_refuses(settings, message):
    with pytest.raises(OptimizerError) as error:
        RungSGD(group(), **{"lr": 1.0, "storage": "master", **settings})
    assert str(error.value).startswith(f"RungSGD: {message}")


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (group(storage="stochastic"), "storage='stochastic' without a generator. Pass generator=torch.Generator()"),
        (
            group("BF16", storage="stochastic"),
            "storage='stochastic' with the reference format BF16, which torch's cast rounds to nearest",
        ),
        (
            group(storage="eco", betas=(0.0, 0.999)),
            "storage='eco' without a momentum to keep the rounding error in. Set betas with beta1 above 0",
        ),
        (
            group(metric="smooth", metric_power=-0.5),
            "metric='smooth' with metric_power=-0.5, which is infinite at a weight of 0. Set metric_power above 0",
        ),
        *(
            (
                group(metric=metric, metric_power=0.5, precondition="gradient"),
                f"metric='{metric}' with precondition='gradient', which multiplies the gradient with S^p itself. "
                'Set precondition="update"',
            )
            for metric in ("smooth", "permuted")
        ),
        (group(direction="rung"), "direction='rung' is not one of its own. Choose from adamw"),
        (group(scalers=[Scaler("E5M2")]), "one group has the formats E4M3, E5M2. Make one group for each format"),
        (group(scalers=[Scaler("E4M3")] * 2), "a group has 1 parameters and 2 scalers. Give one scaler"),
        ([{"params": [torch.ones(2, dtype=torch.complex64, requires_grad=True)]}], "a parameter of torch.complex64"),
    ],
)
def test_groups_that_do_not_fit_are_refused(groups, message):
    with pytest.raises(OptimizerError) as error:
        ManifoldAdamW(groups)
    assert str(error.value).startswith(f"ManifoldAdamW: {message}")


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (group(None, direction="rung"), 'a group without a format has no rungs to move on. Set direction="adamw"'),
        (group("BF16"), "the reference format BF16 has no rungs to move on"),
    ],
)
def test_rung_groups_need_rungs(groups, message):
    with pytest.raises(OptimizerError) as error:
        RungSGD(groups, lr=1.0, storage="master")
    assert str(error.value).startswith(f"RungSGD: {message}")


def test_an_unknown_format_is_refused_with_the_nearest_names():
    with pytest.raises(UnknownFormatError, match="'E4M4' is not a format"):
        ManifoldAdamW(group("E4M4"))


def test_sparse_gradients_are_refused():
    embedding = torch.nn.Embedding(4, 3, sparse=True)
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(OptimizerError) as error:
        ManifoldAdamW(embedding.parameters()).step()
    assert str(error.value) == "ManifoldAdamW: a gradient is sparse. Set sparse=False in the embedding."


def test_plain_groups_take_settings_that_only_quantized_ones_cannot_combine():
    settings = {"storage": "eco", "betas": (0.0, 0.999), "metric": "smooth", "metric_power": -0.5}
    assert ManifoldAdamW([weight()], **settings).param_groups[0]["storage"] == "eco"


def test_a_rung_optimizers_own_adamw_groups_may_store_with_feedback():
    optimizer = RungSGD(group(direction="adamw", storage="eco"), lr=1.0, storage="master")
    assert optimizer.param_groups[0]["storage"] == "eco"


def test_a_refused_group_leaves_the_optimizer_as_it_was():
    optimizer = ManifoldAdamW([weight()])
    for bad in (group(lr=-1.0)[0], group(scalers=[])[0]):
        with pytest.raises(OptimizerError):
            optimizer.add_param_group(bad)
    assert len(optimizer.param_groups) == 1


def test_every_setting_can_be_given_by_a_group():
    own = {
        "lr": 0.5,
        "betas": (0.1, 0.2),
        "eps": 1e-3,
        "weight_decay": 0.25,
        "metric_power": -0.5,
        "metric": "permuted",
        "permutation_seed": 7,
        "precondition": "update",
        "storage": "eco",
        "count": True,
    }
    given = group(**own)
    optimizer = ManifoldAdamW([*given, {"params": [weight()]}])
    assert {name: optimizer.param_groups[0][name] for name in own} == own
    assert optimizer.param_groups[1]["lr"] == 1e-3
    assert "scalers" not in given[0], "the caller's group stays as it is"
