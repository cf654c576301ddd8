"""The model card and the results files, read back with huggingface_hub's own classes."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub import parse_eval_result_entries as parse

from dfbench.plugins import Registry
from dfbench.publish.hub.card import eval_results, model_card, results_path
from dfbench.publish.zoo.entry import Checkpoint
from dfbench.publish.zoo.from_run import entry_from_run


@pytest.fixture(scope="module")
def record(finished: Path) -> dict[str, Any]:
    return json.loads((finished / "record.json").read_text())


@pytest.fixture(scope="module")
def entry(finished: Path, known: Registry) -> Checkpoint:
    return entry_from_run(finished, known, weights_licence="CC-BY-4.0", limits="None of *your* business.")


@pytest.fixture(scope="module")
def card(entry: Checkpoint, record: dict[str, Any]) -> ModelCard:
    return ModelCard(model_card(entry, record, "me/small").decode())


def test_the_front_matter_is_what_the_hub_reads(card: ModelCard) -> None:
    data = card.data.to_dict()
    assert (data["license"], data["library_name"], data["pipeline_tag"]) == (
        "cc-by-4.0",
        "dfbench",
        "image-classification",
    )
    assert {"dfbench", "deepfake-detection", "continual-learning", "simple_cnn"} <= set(data["tags"])


def test_the_model_index_has_the_average_and_every_experience(
    card: ModelCard, entry: Checkpoint, record: dict[str, Any]
) -> None:
    results = card.data.eval_results
    assert [r.dataset_config for r in results] == [None, "s0", "s1", "s2"]
    assert [r.metric_value for r in results] == [record["metrics"]["average_auc"], *record["matrix"]["auc"][-1]]
    assert {r.dataset_type for r in results} == {"dfbench/tiny"}
    assert {r.metric_type for r in results} == {"roc_auc"}
    assert {r.dataset_args["fingerprint"] for r in results} == {entry.training.fingerprint}


def test_the_newer_results_have_the_same_values(entry: Checkpoint, record: dict[str, Any]) -> None:
    assert results_path(entry) == ".eval_results/dfbench-tiny.yaml"
    found = {e.task_id: e for e in parse(yaml.safe_load(eval_results(entry, record)))}
    assert {task: e.value for task, e in found.items()} == {
        "average_auc": record["metrics"]["average_auc"],
        "forgetting": record["metrics"]["forgetting"],
        **{f"s{j}_auc": record["matrix"]["auc"][-1][j] for j in range(3)},
    }
    assert {e.dataset_id for e in found.values()} == {"dfbench/tiny"}
    assert all(e.date == record["created"] and record["run"] in (e.notes or "") for e in found.values())


def test_the_text_says_what_a_reader_asks(card: ModelCard, entry: Checkpoint, record: dict[str, Any]) -> None:
    text = card.text
    for said in (
        entry.intended_use,
        "None of *your* business.",
        "s0 → s1 → s2",
        "replay",
        record["run"],
        entry.training.fingerprint,
        'load("me/small")',
        "32×32 pixels",
        "mean [0.5, 0.5, 0.5]",
        "weights CC-BY-4.0",
    ):
        assert said in text, said


def test_the_table_has_each_experience_and_what_was_forgotten(card: ModelCard, record: dict[str, Any]) -> None:
    rows = record["matrix"]["auc"]
    best = max(rows[0][0], rows[1][0])
    assert f"| s0 | {best:.3f} | {rows[2][0]:.3f} | {best - rows[2][0]:.3f} |" in card.text
    assert f"| s2 | – | {rows[2][2]:.3f} | – |" in card.text
    average, forgetting = record["metrics"]["average_auc"], record["metrics"]["forgetting"]
    assert f"| **average** | | {average:.3f} | {forgetting:.3f} |" in card.text


def test_the_command_is_the_one_of_the_run(card: ModelCard, record: dict[str, Any]) -> None:
    line = card.text.split("```sh\n")[1].split("\n")[0]
    words = shlex.split(line)
    at = words.index("dfbench")
    assert words[at + 1] == "eval"
    assert "epochs=1" in words
    assert "width=8" in words
    assert words[words.index("-s") + 1] == "replay"


def test_nothing_in_it_depends_on_the_clock(entry: Checkpoint, record: dict[str, Any]) -> None:
    assert model_card(entry, record, "a/b") == model_card(entry, record, "a/b")
    assert eval_results(entry, record) == eval_results(entry, record)


def test_a_better_one_is_named(entry: Checkpoint, record: dict[str, Any]) -> None:
    old = entry.model_copy(update={"superseded_by": "new-one"})
    assert "Superseded by `new-one`" in model_card(old, record, "a/b").decode()
