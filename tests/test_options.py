"""Options that came later: at their default they are not in the spec, so identities stay what they were."""

from __future__ import annotations

from pydantic import Field

from dfbench import StrategyConfig, later
from dfbench.options import told


class Before(StrategyConfig):
    strength: float = Field(1.0, ge=0, description="of the penalty")


class After(Before):
    policy: str = later("random", description="what is stored")


def test_an_option_that_came_later_is_told_only_where_it_changes_something() -> None:
    assert told(After()) == told(Before()) == {"strength": 1.0}
    assert told(After(policy="random")) == {"strength": 1.0}
    assert told(After(policy="herding")) == {"strength": 1.0, "policy": "herding"}


def test_what_was_told_makes_the_same_configuration_again() -> None:
    for config in (After(), After(policy="herding", strength=2)):
        assert After.model_validate(told(config)) == config
