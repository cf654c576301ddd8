"""The model card and the results files, read back with huggingface_hub's own classes."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub import parse_eval_result_entries as parse
from PIL import Image

from dfbench.plugins import Registry
from dfbench.publish.hub.card import eval_results, model_card, results_path, usage
from dfbench.publish.zoo.entry import CheckpointEntry
from dfbench.publish.zoo.from_run import entry_from_run
from dfbench.records.finished import FinishedRun
from dfbench.records.record import Record
from dfbench.records.text import number


@pytest.fixture(scope="module")
def run(finished: Path) -> FinishedRun:
    return FinishedRun.open(finished)


@pytest.fixture(scope="module")
def record(run: FinishedRun) -> Record:
    return run.record


@pytest.fixture(scope="module")
def entry(run: FinishedRun, known: Registry) -> CheckpointEntry:
    return entry_from_run(run, known, weights_licence="CC-BY-4.0", limits="None of *your* business.")


@pytest.fixture(scope="module")
def card(entry: CheckpointEntry, record: Record) -> ModelCard:
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
    card: ModelCard, entry: CheckpointEntry, record: Record
) -> None:
    results = card.data.eval_results
    assert [r.dataset_config for r in results] == [None, "s0", "s1", "s2"]
    assert [r.metric_value for r in results] == [record.metrics["average_auc"], *record.matrix["auc"][-1]]
    assert {r.dataset_type for r in results} == {"dfbench/tiny"}
    assert {r.metric_type for r in results} == {"roc_auc"}
    assert {r.dataset_args["fingerprint"] for r in results} == {entry.training.fingerprint}


def test_the_newer_results_have_the_same_values(entry: CheckpointEntry, record: Record) -> None:
    assert results_path(entry) == ".eval_results/dfbench-tiny.yaml"
    found = {e.task_id: e for e in parse(yaml.safe_load(eval_results(entry, record)))}
    assert {task: e.value for task, e in found.items()} == {
        "average_auc": record.metrics["average_auc"],
        "forgetting": record.metrics["forgetting"],
        **{f"s{j}_auc": record.matrix["auc"][-1][j] for j in range(3)},
    }
    assert {e.dataset_id for e in found.values()} == {"dfbench/tiny"}
    assert all(e.date == record.created and record.run in (e.notes or "") for e in found.values())


def test_the_text_says_what_a_reader_asks(card: ModelCard, entry: CheckpointEntry, record: Record) -> None:
    text = card.text
    for said in (
        entry.intended_use,
        "None of *your* business.",
        "s0 → s1 → s2",
        "replay",
        record.run,
        entry.training.fingerprint,
        'dfbench.load("me/small")',
        "32×32 pixels",
        "mean [0.5, 0.5, 0.5]",
        "weights CC-BY-4.0",
    ):
        assert said in text, said


def test_the_table_has_each_experience_and_what_was_forgotten(card: ModelCard, record: Record) -> None:
    rows = record.matrix["auc"]
    best = max(rows[0][0], rows[1][0])
    assert f"| s0 | {best:.3f} | {rows[2][0]:.3f} | {number(best - rows[2][0])} |" in card.text
    assert f"| s2 | – | {rows[2][2]:.3f} | – |" in card.text
    average, forgetting = record.metrics["average_auc"], record.metrics["forgetting"]
    assert f"| **average** | | {average:.3f} | {forgetting:.3f} |" in card.text


def test_the_command_is_the_one_of_the_run(card: ModelCard, record: Record) -> None:
    line = card.text.split("```sh\n")[1].split("\n")[0]
    words = shlex.split(line)
    at = words.index("dfbench")
    assert words[at + 1] == "eval"
    assert "epochs=1" in words
    assert "width=8" in words
    assert words[words.index("-s") + 1] == "replay"


def test_the_python_of_the_card_judges_a_picture(
    card: ModelCard, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (50, 60)).save("face.png")
    code = card.text.split("```python\n")[1].split("```")[0]
    exec(code.replace("me/small", str(finished)), {})
    assert 0 <= float(capsys.readouterr().out) <= 1


def test_the_python_of_a_card_of_clips_or_of_many_classes(entry: CheckpointEntry) -> None:
    clips = entry.model_copy(update={"input": entry.input.model_copy(update={"unit": (16,)})})
    assert "[:16]" in "\n".join(usage(clips, "me/small"))
    many = entry.model_copy(update={"classes": ("a", "b", "c")})
    for lines in (usage(clips, "me/small"), usage(many, "me/small")):
        compile("\n".join(lines), "card", "exec")
    assert usage(many, "me/small")[-1] == "print(predictor.predict_proba(shown))"


def test_nothing_in_it_depends_on_the_clock(entry: CheckpointEntry, record: Record) -> None:
    assert model_card(entry, record, "a/b") == model_card(entry, record, "a/b")
    assert eval_results(entry, record) == eval_results(entry, record)


def test_a_better_one_is_named(entry: CheckpointEntry, record: Record) -> None:
    old = entry.model_copy(update={"superseded_by": "new-one"})
    assert "Superseded by `new-one`" in model_card(old, record, "a/b").decode()
