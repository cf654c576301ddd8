"""HDP and SUR-LID against loops written from their formulas, and their parts against cases made by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from dfbench_avalanche.domains import aligned, mean, refilled, shuffled, sparse_uniform
from dfbench_avalanche.hdp import perturbed
from torch import nn

from dfbench import Loop, StrategyContext, Task, UsageError
from tests.training.formulas import PlainLoop, contrast, divergence, unit
from tests.training.harness import (
    BATCH,
    EPOCHS,
    LR,
    PlainConfig,
    PlainDetector,
    Problem,
    copy_of,
    largest_difference,
    network,
    strategy_of,
    train,
)


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem.make(size=48)


# --- HDP ---------------------------------------------------------------------------------------------------


def test_a_perturbed_input_stays_in_the_range_of_inputs() -> None:
    x = torch.tensor([[-1.0, 0.0], [0.5, 1.0]])
    assert perturbed(x, torch.tensor([[-0.25, 0.25]])).tolist() == [[-1.0, 0.25], [0.25, 1.0]]


class HDPLoop(PlainLoop):
    """Distances of features twice; a search of two passes, four steps a batch at most, of 0.1 each within ½."""

    def __init__(self, problem: Problem, seen: list[list[torch.Tensor]]) -> None:
        super().__init__(problem, seen)
        self.perturbations: list[torch.Tensor] = []
        self.steps = 0

    def loss(self, ids: Any, labels: Any, features: Any, logits: Any, own: Any) -> torch.Tensor:
        if self.teacher is None:
            return own  # type: ignore[no-any-return]
        self.teacher.train()
        x, real = self.problem.inputs(ids), labels == 0
        away = (features[real] - self.quietly(x)[real]).square().mean()
        chosen = self.perturbations[int(torch.randint(len(self.perturbations), ()))]
        fake = torch.minimum(torch.maximum(x[real] + chosen, x[real].min()), x[real].max())
        seen = self.model[:-1](fake)  # type: ignore[index]
        away = away + (seen - self.quietly(fake)).square().mean()
        called = self.model[-1](seen)  # type: ignore[index]
        share = torch.cat([logits, called]), torch.cat([labels, torch.ones(len(fake), dtype=torch.int64)])
        return nn.functional.cross_entropy(*share) + 2 * away  # the batch and the perturbed as one

    def quietly(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return self.teacher[:-1](x)  # type: ignore[no-any-return]

    def after(self, experience: int) -> None:
        model = copy_of(self.model).eval()
        real = self.problem.ids(experience)
        real = real[self.problem.labels[real] == 0]
        found = None
        for _ in range(2):
            for first in range(0, len(real), BATCH):
                x = self.problem.inputs(real[first : first + BATCH])
                found = 0.001 * torch.rand(1, *x.shape[1:]) if found is None else found
                for _ in range(4):
                    found = found.clone().requires_grad_()
                    logits = model(torch.minimum(torch.maximum(x + found, x.min()), x.max()))
                    if float((logits[:, 1] > logits[:, 0]).double().mean()) >= 0.9:
                        break
                    (-logits.log_softmax(1)[:, 1].mean()).backward()
                    found = (found.detach() - 0.1 * found.grad.sign()).clamp(-0.5, 0.5)  # type: ignore[union-attr]
                    self.steps += 1
        assert found is not None
        self.perturbations.append(found.detach())


def test_hdp(problem: Problem) -> None:
    options: dict[str, Any] = {"features": 2.0, "epsilon": 0.5, "step": 0.1, "rate": 0.9, "passes": 2, "tries": 4}
    options["statistics"] = "separate"  # the other is in test_teachers.py
    ours = train(problem, strategy_of("hdp", **options))
    loop = HDPLoop(problem, ours.detector.seen)
    assert largest_difference(ours.model, loop.run()) < 5e-5
    plugin = ours.strategy._plugin  # type: ignore[attr-defined]
    assert len(plugin.perturbations) == 3
    for found, expected in zip(plugin.perturbations, loop.perturbations, strict=True):
        assert float((found - expected).abs().max()) < 1e-5
        assert 0 < float(found.abs().max()) <= 0.5
    effects = ours.strategy.effects.values()
    assert effects["perturbation_steps"] == loop.steps
    assert effects["perturbed_units"] == sum(
        int((problem.labels[ids] == 0).sum()) for batches in ours.detector.seen[1:] for ids in batches
    )
    assert effects["feature_distance"] > 0
    assert len(ours.strategy.stored_units()) == 0
    for name, value in {"features": 0.0, "epsilon": 0.05, "step": 0.01, "rate": 0.01}.items():
        other = train(problem, strategy_of("hdp", **options | {name: value}))
        assert largest_difference(ours.model, other.model) > 1e-4, name


def test_the_search_has_real_faces_called_fake() -> None:
    problem = Problem.make()
    strategy = strategy_of("hdp", epsilon=1.0, step=0.02, passes=10, statistics="separate")
    ours = train(problem, strategy, PlainDetector(PlainConfig(epochs=6), Task()))
    model, ids = ours.model.eval(), problem.ids(2)
    x, found = problem.inputs(ids[problem.labels[ids] == 0]), ours.strategy._plugin.perturbations[-1]  # type: ignore[attr-defined]
    with torch.no_grad():
        before, after = (float((model(inputs).argmax(1) == 1).float().mean()) for inputs in (x, perturbed(x, found)))
    assert before < 0.5
    assert after >= 0.7  # 0.8 of each batch, when it was looked at


def test_hdp_needs_two_classes(problem: Problem) -> None:
    context = StrategyContext(network(), ("6",), 3, 30, 1, 16, torch.arange(3))
    with pytest.raises(UsageError, match="two classes, real and fake"):
        strategy_of("hdp").plugins(context)


def test_hdp_finds_a_batch_without_real_faces_nothing_to_do(problem: Problem) -> None:
    fakes = problem.labels.clone()
    fakes[problem.ids(1)] = 1
    other = Problem(problem.pictures, fakes, problem.experience)
    ours = train(other, strategy_of("hdp", passes=1, tries=2))
    assert len(ours.strategy._plugin.perturbations) == 2  # type: ignore[attr-defined]


# --- SUR-LID: parts ----------------------------------------------------------------------------------------


def test_sparse_uniform_by_hand() -> None:
    """On two rays from the mean, at the distances 1 to 4: two intervals, of 1, 1, 2, 2 and of 3, 3, 4, 4."""
    features = torch.tensor([[1.0, 0], [-1, 0], [2, 0], [-2, 0], [0, 3], [0, -3], [4, 0], [-4, 0]])
    stability = torch.tensor([0.1, 0.2, 0.9, 0.3, 0.4, 0.8, 0.7, 0.1])
    # (2, 0) is the steadiest of the near ones, and (−1, 0) points away from it, as (−2, 0) does, which comes later;
    # of the far ones (0, −3), and (0, 3) points away
    assert sparse_uniform(features, stability, 4).tolist() == [2, 1, 5, 4]
    assert sparse_uniform(features, stability, 3).tolist() == [2, 1, 5]
    assert sorted(sparse_uniform(features, stability, 8).tolist()) == list(range(8))
    assert sparse_uniform(features, stability, 0).tolist() == []


def test_sparse_uniform_takes_every_distance() -> None:
    torch.manual_seed(0)
    features = torch.randn(200, 6)
    distance = (features - features.mean(0)).norm(dim=1)
    chosen = sparse_uniform(features, torch.rand(200), 20)
    assert len(chosen.unique()) == 20
    ranks = distance.argsort().argsort()[chosen] // 20  # ten intervals of twenty
    assert ranks.bincount().tolist() == [2] * 10


def test_shuffled_moves_whole_tiles() -> None:
    torch.manual_seed(3)
    x = torch.arange(2 * 5 * 4.0).reshape(2, 1, 5, 4)
    order = torch.randperm(4).tolist()
    torch.manual_seed(3)
    out = shuffled(x, 2)
    tiles = [x[..., :2, :2], x[..., :2, 2:], x[..., 2:4, :2], x[..., 2:4, 2:]]
    moved = [out[..., :2, :2], out[..., :2, 2:], out[..., 2:4, :2], out[..., 2:4, 2:]]
    assert order != sorted(order)
    assert all(torch.equal(a, tiles[i]) for a, i in zip(moved, order, strict=True))
    assert torch.equal(out[..., 4, :], x[..., 4, :])  # what is left over


def test_refilled_points_are_inside_their_own_domain() -> None:
    torch.manual_seed(0)
    features = torch.tensor([[0.0, 1.0], [0.0, 3.0], [5.0, 0.0]]).repeat(50, 1)
    domains = torch.tensor([0, 0, 2]).repeat(50)
    centres = torch.tensor([[1.0, 2.0], [9.0, 9.0], [5.0, 5.0]])
    points, names = refilled(features, domains, centres)
    assert torch.equal(names, domains)
    first, third = points[domains == 0], points[domains == 2]
    assert bool((third[:, 0] == 5).all())
    assert 0 <= float(third[:, 1].min()) < 0.5
    assert 4.5 < float(third[:, 1].max()) <= 5
    # inside the triangle of (0, 1), (0, 3) and (1, 2): away from each edge
    assert bool((first[:, 0] >= 0).all() and (first[:, 0] <= 1 - (first[:, 1] - 2).abs() + 1e-6).all())
    assert float(first[:, 0].max()) > 0.7
    assert float(first[:, 1].std()) > 0.1


def test_aligned_turns_rows_and_keeps_their_length() -> None:
    weight, towards = torch.tensor([[3.0, 0.0], [0.0, 2.0]]), torch.tensor([[0.0, 7.0], [0.0, 1.0]])
    turned = aligned(weight, towards, 0.25)
    expected = 3 * torch.tensor([0.75, 0.25]) / (0.75**2 + 0.25**2) ** 0.5
    assert torch.allclose(turned, torch.stack([expected, torch.tensor([0.0, 2.0])]))


def test_the_mean_classifiers_logits_are_the_mean_logits() -> None:
    torch.manual_seed(0)
    heads = [nn.Linear(5, 2) for _ in range(3)]
    both = mean([dict(head.state_dict()) for head in heads])
    x = torch.randn(4, 5)
    expected = torch.stack([head(x) for head in heads]).mean(0)
    assert torch.allclose(nn.functional.linear(x, **both), expected, atol=1e-6)


# --- SUR-LID ---------------------------------------------------------------------------------------------------


class Leaky(PlainDetector):
    """Features that are never 0: where units die many are equal, and the choice among them is one of rounding."""

    def build(self) -> nn.Module:
        model = network()
        model[5] = nn.LeakyReLU(0.5)  # type: ignore[index]
        return model


def leaky() -> Leaky:
    return Leaky(PlainConfig(), Task())


class SURLIDLoop(PlainLoop):
    """Isolation ½, distillation 3, alignment 0.1 and 0.05, temperature ½; 8 units an experience."""

    def __init__(self, problem: Problem, seen: list[Any], given: list[torch.Tensor], options: dict[str, Any]) -> None:
        super().__init__(problem, seen, leaky().build())
        self.given, self.options = given, options
        self.shared_real, self.kd, self.moving = options["shared_real"], options["kd"], options["moving"]
        self.memory: dict[int, list[int]] = {}
        self.centres: dict[int, torch.Tensor] = {}
        self.classifiers: list[Any] = []
        self.live: list[Any] = []

    def before(self, experience: int) -> None:
        self.experience, self.steps = experience, 0
        self.live = [copy_of(c).requires_grad_(self.options["frozen"] == "semi") for c in self.classifiers]
        weights = [p for c in self.live for p in c.parameters() if p.requires_grad]
        self.second = torch.optim.SGD(weights, lr=LR, momentum=0.9) if weights else None
        if self.classifiers:
            self.model[-1].load_state_dict(self.classifiers[-1].state_dict())  # type: ignore[index]

    def loss(self, ids: Any, labels: Any, features: Any, logits: Any, own: Any) -> torch.Tensor:
        origin = torch.from_numpy(self.problem.experience)[ids]
        domains, old = 2 * origin + labels, origin < self.experience
        for row in old.nonzero()[:, 0].tolist():
            assert int(ids[row]) in self.memory[int(domains[row])]
        heads = [*self.live, self.model[-1]]  # type: ignore[index]
        each = torch.stack([heads[int(e)](f) for e, f in zip(origin, features, strict=True)])
        loss = nn.functional.cross_entropy(each, labels)
        if old.any():
            with torch.no_grad():
                before = self.split(self.teacher, ids[old])[0]
            loss = loss + 3 * (features[old] - before).square().mean()
            said = torch.stack([self.classifiers[int(e)](f) for e, f in zip(origin[old], before, strict=True)])
            loss = loss + self.kd * divergence(each[old], said, 4.0)
            alpha, beta = torch.rand(2, int(old.sum()), 1)
            inside = domains[old]
            other = torch.multinomial((inside[:, None] == inside[None, :]).float(), 1)[:, 0]
            mixed = alpha * features[old] + (1 - alpha) * features[old][other]
            centre = torch.stack([self.centres[int(d)] for d in inside])
            features = torch.cat([features, beta * mixed + (1 - beta) * centre])
            domains = torch.cat([domains, inside])
        if self.shared_real:
            domains = torch.where(domains % 2 == 0, -1, domains)
        return loss + 0.5 * contrast(features, domains, 0.5)

    def after_step(self) -> None:
        if self.second is not None:
            self.second.step()
            self.second.zero_grad()
        self.steps += 1
        epoch = (self.steps - 1) * EPOCHS // len(self.seen[self.experience])
        if self.live and epoch > self.options["align_epoch"]:
            self.align()

    @torch.no_grad()
    def align(self) -> None:
        heads = [*self.live, self.model[-1]]  # type: ignore[index]
        before = [unit(head.weight) for head in heads]
        for i, head in enumerate(heads):
            share = 0.1 if head is heads[-1] else 0.05 if self.options["frozen"] == "semi" else 0
            others = [j for j in range(len(heads)) if j != i]
            to = i - 1
            if self.options["towards"] == "farthest":
                to = min(others, key=lambda j, i=i: float((before[i] * before[j]).sum()))  # type: ignore[misc]
            if share and to >= 0:
                turned = unit((1 - share) * before[i] + share * before[to])
                head.weight.copy_(turned * head.weight.norm(dim=1, keepdim=True))

    def after(self, experience: int) -> None:
        model = copy_of(self.model).eval()
        for label in (0, 1):
            ids = self.problem.ids(experience)
            ids = ids[self.problem.labels[ids] == label]
            features, steady = [], []
            for part in ids.split(BATCH):
                x = self.problem.inputs(part)
                tiles = [x[..., i : i + 4, j : j + 4] for i in (0, 4) for j in (0, 4)]
                a, b, c, d = (tiles[i] for i in torch.randperm(4).tolist())
                other = torch.cat([torch.cat([a, b], 3), torch.cat([c, d], 3)], 2)
                with torch.no_grad():
                    f, g = model[:-1](x), model[:-1](other)
                features.append(f)
                steady.append((unit(f) * unit(g)).sum(1))
            found, domain = torch.cat(features), 2 * experience + label
            # of a moving average the newest has a share, and all before it the rest
            share = self.moving * (1 - self.moving) ** torch.arange(len(found)).flip(0)
            share[0] = share[0] / self.moving if self.moving else 1
            self.centres[domain] = (share[:, None] * found).sum(0) if self.moving else found.mean(0)
            self.memory[domain] = self.given[domain].tolist()
            self.check([ids.tolist().index(i) for i in self.memory[domain]], found, torch.cat(steady))
        self.classify()

    def check(self, chosen: list[int], features: torch.Tensor, steady: torch.Tensor) -> None:
        """Two of each half of the distances, as good as any but for rounding, which decides between equals."""
        ranked = (features - features.mean(0)).norm(dim=1).argsort().tolist()
        for half, (first, second) in ((ranked[:12], chosen[:2]), (ranked[12:], chosen[2:])):
            assert {first, second} <= set(half)
            assert float(steady[first]) >= float(steady[half].max()) - 1e-5
            alike = unit(features) @ unit(features)[first]
            assert float(alike[second]) <= min(float(alike[i]) for i in half if i != first) + 1e-5

    def classify(self) -> None:
        """Keep the classifiers, and predict with their mean."""
        self.classifiers = [copy_of(c).requires_grad_(False) for c in (*self.live, self.model[-1])]  # type: ignore[index]
        with torch.no_grad():
            for name, p in self.model[-1].named_parameters():  # type: ignore[index]
                p.copy_(sum(dict(head.named_parameters())[name] for head in self.classifiers) / len(self.classifiers))


FORMER: dict[str, Any] = {"frozen": "full", "towards": "last", "align_epoch": -1}
"""The way of earlier records."""
OTHER = {"kd": 2.0, "moving": 0.2, "per_domain": 3}


@pytest.mark.parametrize(
    "chosen",
    [
        FORMER,
        {**FORMER, "shared_real": True},
        {**FORMER, **OTHER},
        {**OTHER, "frozen": "semi", "towards": "farthest", "align_epoch": 0},
        {**OTHER, "frozen": "semi", "towards": "last", "align_epoch": -1},
        {**OTHER, "frozen": "full", "towards": "farthest", "align_epoch": 0},
    ],
    ids=["former", "shared real", "with kd", "semi", "semi, last", "full, farthest"],
)
def test_sur_lid(problem: Problem, chosen: dict[str, Any]) -> None:
    options: dict[str, Any] = {"isolation": 0.5, "distillation": 3.0, "alignment": 0.1, "temperature": 0.5}
    options |= {"shared_real": False, "kd": 0.0, "kd_temperature": 4.0, "moving": 0.0, "per_domain": None}
    options |= {"past_alignment": (0.05,), **chosen}
    ours = train(problem, strategy_of("sur_lid", memory=24, **options), leaky())
    stored = ours.strategy._plugin.stored  # type: ignore[attr-defined]
    loop = SURLIDLoop(problem, ours.detector.seen, stored, options)
    assert largest_difference(ours.model, loop.run()) < 5e-5
    for own, other in zip(ours.strategy._plugin.classifiers, loop.classifiers, strict=True):  # type: ignore[attr-defined]
        assert float((own["weight"] - other.weight).detach().abs().max()) < 5e-5
        assert float((own["bias"] - other.bias).detach().abs().max()) < 5e-5
    assert [len(ids) for ids in stored] == [4] * 6
    aligned_steps = sum(map(len, ours.detector.seen[1:])) / EPOCHS * (EPOCHS - 1 - options["align_epoch"])
    assert ours.strategy.effects.values()["alignments"] == aligned_steps
    replayed = [len(batches[0]) - BATCH for batches in ours.detector.seen]
    assert replayed == ([0, 6, 12] if options["per_domain"] else [0, 8, 16])


def test_every_option_of_sur_lid_changes_the_weights(problem: Problem) -> None:
    options: dict[str, Any] = {
        "isolation": 0.5,
        "distillation": 3.0,
        "temperature": 0.5,
        **OTHER,
        "kd_temperature": 4.0,
    }
    options |= {"alignment": 0.1, "past_alignment": (0.05,), "align_epoch": 0}
    ours = train(problem, strategy_of("sur_lid", memory=24, **options), leaky())
    changes = {"isolation": 0.1, "distillation": 0.1, "alignment": 0.0, "temperature": 1.0, "refill": False}
    changes |= {"kd": 0.0, "kd_temperature": 1.0, "moving": 0.9, "per_domain": 1, "shared_real": True}
    changes |= {"frozen": "full", "towards": "last", "align_epoch": 1, "past_alignment": ()}
    for name, value in changes.items():
        other = train(problem, strategy_of("sur_lid", memory=24, **options | {name: value}), leaky())
        assert largest_difference(ours.model, other.model) > 1e-4, name


def test_an_averaged_network_predicts_with_the_mean_classifier_too(problem: Problem) -> None:
    class Averaging(PlainDetector):
        def train(self, loop: Loop) -> None:
            loop.average(0.5)
            super().train(loop)

    ours = train(problem, strategy_of("sur_lid", memory=24), Averaging(PlainConfig(), Task()))
    plugin, averaged = ours.strategy._plugin, ours.template.averaged  # type: ignore[attr-defined]
    past = plugin.classifiers
    both = torch.stack([c["weight"] for c in past]).mean(0)
    assert averaged is not None
    assert torch.allclose(ours.model[-1].weight, both)  # type: ignore[index]
    assert torch.allclose(averaged[-1].weight, both)  # type: ignore[index]
    assert largest_difference(plugin.previous[:-1], averaged[:-1]) == 0  # type: ignore[index]
    assert largest_difference(plugin.previous[:-1], ours.model[:-1]) > 0  # type: ignore[index]


def test_sur_lids_defaults_are_the_published_configuration() -> None:
    config = strategy_of("sur_lid").config
    assert (config.isolation, config.distillation, config.kd) == (4.0, 10.0, 1.0)
    assert (config.per_domain, config.moving, config.align_epoch, config.frozen) == (3, 0.1, 1, "semi")
    assert (config.alignment, *config.past_alignment) == (0.01, 0.001, 0.0001, 0.00005)


def test_sur_lid_needs_one_head(problem: Problem) -> None:
    context = StrategyContext(network(), ("4", "6"), 3, 30, 1, 16, problem.labels)
    with pytest.raises(UsageError, match="needs one head, not 2"):
        strategy_of("sur_lid").plugins(context)


def test_between_trainings_the_state_is_whole(problem: Problem) -> None:
    """Every strategy's state goes into a fresh one and comes out again as it was."""
    for name in ("dfil", "cored", "hdp", "sur_lid"):
        strategy = train(problem, strategy_of(name)).strategy
        again = strategy_of(name)
        again.plugins(StrategyContext(network(), ("6",), 3, 30, 1, 16, problem.labels))
        again.load_state_dict(strategy.state_dict(), lambda ids: ids)
        a, b = (flat(s.state_dict()) for s in (strategy, again))
        assert len(a) >= 8
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a), name
        assert torch.equal(strategy.stored_units(), again.stored_units())


def flat(state: Any, path: str = "") -> dict[str, torch.Tensor]:
    if isinstance(state, torch.Tensor):
        return {path: state}
    items = state.items() if isinstance(state, dict) else enumerate(state)
    return {key: value for name, part in items for key, value in flat(part, f"{path}/{name}").items()}
