"""Checks of whole trainings: it learns, loads, repeats, goes on after an interruption, and trains under strategies."""

from __future__ import annotations

import contextlib

import numpy as np
import torch
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score

from dfbench.errors import DfbenchError, IncompatibleError, in_one_line
from dfbench.records.spec import without_start
from dfbench.runs.detector_state import kept_tensors
from dfbench.runs.runner import run
from dfbench.testing.outcome import Broken, NotChecked, Refused
from dfbench.testing.subject import Workbench
from dfbench.training.checkpoint import misfit, save_weights
from dfbench.training.strategies import Need, Strategy

LEARNED = 0.75
"""AUC on the pictures that it was trained on, from which on it has learned them."""


def learns(bench: Workbench) -> str:
    """It tells the pictures apart that it is trained on, and calls the fakes fake."""
    rounds = bench.subject.rounds
    if rounds == 0:
        raise NotChecked("rounds is 0: it need not learn from this stream")
    with contextlib.closing(bench.session()) as session:
        if len(session.stream.classes) != 2:
            raise NotChecked("more than two classes")
        loader = bench.first_training_set(session)
        ids = list(torch.arange(len(loader.units)).split(64))
        auc = 0.5
        for number in range(1, rounds + 1):
            session.train(1)
            model = session.template.averaged or session.template.model
            fake = bench.probabilities(session, model, [loader.fetch(part) for part in ids])[:, 1]
            auc = float(roc_auc_score(loader.units.labels, fake))
            if auc >= LEARNED:
                return f"AUC {auc:.2f} on its {len(loader.units)} training units after {number} of {rounds} trainings"
        if auc < 1 - LEARNED:
            raise Broken(
                f"it learns, and calls the reals fake: AUC {auc:.2f} on its training units; class 0 is real, in "
                "labels, logits and the columns of predict()"
            )
    raise Broken(
        f"it does not learn {len(loader.units)} units of noise with a plain cue: AUC {auc:.2f} on them after {rounds} "
        "trainings; is the learning rate too low, or does predict() see other pictures than the loss?"
    )


def loads(bench: Workbench) -> str:
    """A new network with the stored weights predicts what the trained one does."""
    trained, session = bench.trained, bench.looked_at
    path = bench.folder / "weights.safetensors"
    save_weights(path, trained.weights)
    values = without_start(bench.kind, session.detector.config.model_dump())
    detector = bench.kind(bench.kind.Config.model_validate(values), session.detector.task)
    network, weights = bench.network(detector), load_file(path)
    if wrong := misfit(network.state_dict(), weights):
        raise Broken(f"the weights of a trained network do not fit a new one: {wrong}")
    network.load_state_dict(weights)
    kept, session.tests.detector = session.tests.detector, detector
    try:
        found = session.tests.predict(network, session.template.scoring)
    finally:
        session.tests.detector = kept
    if (worst := float(np.abs(found - trained.probabilities).max())) > 1e-4:
        raise Broken(
            f"a new network with the stored weights predicts something else, by up to {worst:.2g}: what predict() "
            "needs must be in the network, as a parameter or a buffer"
        )
    return "the same predictions"


def repeats(bench: Workbench) -> str:
    """Two runs with one seed are equal, in one process too."""
    first, second = bench.trained, bench.again()
    if (worst := float(np.abs(first.probabilities - second.probabilities).max())) > _exact(bench):
        raise Broken(
            f"two runs with one seed differ, by up to {worst:.2g} in their predictions: something is drawn from a "
            "generator that the run does not seed, or kept outside of the detector (a global, a class attribute)"
        )
    return "two runs with one seed are equal"


def resumes(bench: Workbench) -> str:
    """A run that was interrupted between two experiences ends as one that was not."""
    first, later = bench.trained, bench.gone_on()
    if (worst := float(np.abs(first.probabilities - later.probabilities).max())) > _exact(bench):
        raise Broken(
            f"a run that goes on after experience 1 differs from an undisturbed one, by up to {worst:.2g} in its "
            f"predictions: state_dict() lacks something that train() goes on from{_suspects(bench)}"
        )
    return "as an undisturbed run"


def trains_under(bench: Workbench, strategy: str) -> str:
    """A strategy trains it, or refuses it with a reason; which of the two is the author's to say."""
    named = bench.subject.refused is not None and strategy in bench.subject.refused
    # What only vision transformers have a place for is no fault of another network.
    needs = bench.registry.strategies.load(strategy, Strategy).needs & {Need.BLOCKS, Need.PROMPTS}
    may_refuse = named or bench.subject.refused is None or bool(needs)
    try:
        record = run(bench.request(strategy), bench.registry)
    except IncompatibleError as error:
        if may_refuse:
            raise Refused(in_one_line(error).partition(": ")[2] or in_one_line(error)) from error
        raise Broken(f"refused, which the contract does not say: {in_one_line(error)}") from error
    except DfbenchError as error:
        raise Broken(in_one_line(error)) from error
    if named:
        raise Broken("trains it, and the contract says that it refuses it")
    return f"{sum(record.steps)} steps" if any(record.steps) else "trained"


def _suspects(bench: Workbench) -> str:
    """Names of attributes that hold tensors after a training."""
    with contextlib.closing(bench.session()) as session:
        session.train(1)
        names = ", ".join(f"self.{name}" for name in kept_tensors(session.detector, session.template.model))
    return f" ({names})" if names else ""


def _exact(bench: Workbench) -> float:
    """Runs repeat bit for bit on a CPU."""
    return 0.0 if bench.looked_at.device.type == "cpu" else 1e-2
