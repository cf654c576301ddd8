"""Parameters of a strategy's own, stepped as the detector's optimizers step the network's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from dfbench import PluginError
from dfbench.training.optimizers import Followers, Optimizers


def adamw(model: nn.Module) -> list[torch.optim.Optimizer]:
    """Two settings for one layer."""
    return [torch.optim.AdamW([{"params": [model.weight], "weight_decay": 0.5}, {"params": [model.bias], "lr": 0.3}])]


def two(model: nn.Module) -> list[torch.optim.Optimizer]:
    """Two kinds for one layer."""
    return [torch.optim.SGD([model.weight], lr=0.1, momentum=0.9), torch.optim.Adam([model.bias], lr=0.2)]


@pytest.mark.parametrize("made", [adamw, two])
def test_a_follower_makes_the_leaders_steps(made: Any) -> None:
    torch.manual_seed(0)
    model, twin = nn.Linear(4, 2), nn.Linear(4, 2)
    twin.load_state_dict(model.state_dict())
    members = made(model)
    schedules = [torch.optim.lr_scheduler.ExponentialLR(member, 0.5) for member in members]  # wraps step()
    leaders = Optimizers(members, model)
    followers = Followers(leaders, list(zip(model.parameters(), twin.parameters(), strict=True)))
    x = torch.randn(8, 4)
    for _ in range(4):
        for part in (model, twin):
            part.zero_grad()
            part(x).square().sum().backward()
        leaders.step()
        followers.step()
        for schedule in schedules:
            schedule.step()
        assert all(torch.equal(p, q) for p, q in zip(model.parameters(), twin.parameters(), strict=True))


def test_what_no_optimizer_holds_stays() -> None:
    model, other = nn.Linear(2, 2), nn.Parameter(torch.ones(2))
    other.grad = torch.ones(2)
    Followers(Optimizers([torch.optim.SGD([model.weight], lr=0.1)]), [(model.bias, other)]).step()
    assert other.tolist() == [1.0, 1.0]


def test_an_optimizer_that_cannot_be_copied_is_refused() -> None:
    class Fixed(torch.optim.SGD):
        def __copy__(self) -> Any:
            raise TypeError("one of a kind")

    model = nn.Linear(2, 2)
    optimizers = Optimizers([Fixed(model.parameters(), lr=0.1)])
    with pytest.raises(PluginError, match="as Fixed trains the head's, and cannot make another one: one of a kind"):
        Followers(optimizers, [(model.bias, nn.Parameter(torch.ones(2)))])
