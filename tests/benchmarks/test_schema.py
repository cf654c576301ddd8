"""What a stream file may say; everything else is one line with the file and the key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dfbench.benchmarks import packaged
from dfbench.benchmarks.schema import read_stream_file, unseen_sets
from dfbench.errors import UsageError

GOOD = """
name: mine
metric: auc
memory: 200
defaults: {source: folder, root: faces, manifest: m.csv, where: {source: swap}}
experiences:
  - {name: one, where: {method: [a, b]}, frames: 16}
  - {name: two, root: other, where: {source: gan}, subfolder: method}
"""


def test_defaults_are_filled_in(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(GOOD)
    spec, (one, two) = read_stream_file(tmp_path / "s.yaml")
    assert spec.budget.memory == 200
    assert spec.max_corrupt == 0.05
    assert one.where == {"source": "swap", "method": ["a", "b"]}
    assert one.options == {"manifest": "m.csv"}
    assert (one.root, one.frames) == ("faces", 16)
    assert two.where == {"source": "gan"}
    assert two.options == {"manifest": "m.csv", "subfolder": "method"}
    assert two.root == "other"


def test_a_description_of_several_lines_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(ONE + "description: |\n  Swaps,\n  then GANs.\nscope: deepfakes\n")
    spec, _ = read_stream_file(tmp_path / "s.yaml")
    assert (spec.description, spec.scope) == ("Swaps, then GANs.", "deepfakes")
    (tmp_path / "s.yaml").write_text(ONE)
    spec, _ = read_stream_file(tmp_path / "s.yaml")
    assert (spec.description, spec.scope) == ("", None)


def test_the_packaged_streams_say_what_they_are() -> None:
    found = {name: read_stream_file(path)[0] for name, path in packaged().items()}
    assert all(spec.description.endswith(".") for spec in found.values())
    scopes = {name: spec.scope for name, spec in found.items()}
    assert scopes.pop("cifar10-ni10") == scopes.pop("cifar10-aggregate") == "other"
    assert {name for name, scope in scopes.items() if scope == "laboratory"} == {
        "forge5", "forge5-clips", "forge5-reverse", "forge50", "portraits",
    }  # fmt: skip
    assert set(scopes.values()) == {"laboratory", "deepfakes"}


def test_equal_and_growing_pieces(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("name: x\ndefaults: {source: cifar10}\nsplit: {parts: 3, growing: true, shuffle: true, seed: 5}")
    _, experiences = read_stream_file(file)
    assert [experience.part for experience in experiences] == [[1], [1, 2], [1, 2, 3]]
    assert {(each.parts, each.shuffle, each.seed) for each in experiences} == {(3, True, 5)}
    file.write_text("name: x\nexperiences: [{name: a, source: cifar10, part: 2, parts: 4}]")
    assert read_stream_file(file)[1][0].part == [2]


def test_the_packaged_streams_are_valid() -> None:
    assert "cifar10-ni10" in packaged()
    for name, path in packaged().items():
        assert read_stream_file(path)[0].name == name
    spec, experiences = read_stream_file(packaged()["cifar10-ni10"])
    assert (spec.metric, spec.fresh_model) == ("accuracy", False)
    assert len(experiences) == 10
    spec, experiences = read_stream_file(packaged()["cifar10-aggregate"])
    assert (spec.metric, spec.fresh_model) == ("accuracy", True)
    assert [experience.part for experience in experiences] == [list(range(1, k + 1)) for k in range(1, 11)]


UNSEEN = """
unseen:
  - {name: token, where: {source: token}}
  - {name: elsewhere, root: other, where: null, methods: [fsgan], frames: 4}
"""


def test_unseen_sets_take_the_defaults_but_those_of_training(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(GOOD.replace("defaults: {", "defaults: {part: 1, parts: 2, ") + UNSEEN)
    spec, experiences = read_stream_file(tmp_path / "s.yaml")
    token, elsewhere = unseen_sets(tmp_path / "s.yaml", spec)
    assert [each.name for each in experiences] == ["one", "two"]
    assert experiences[0].parts == 2
    assert (token.source, token.root, token.options) == ("folder", "faces", {"manifest": "m.csv"})
    assert (token.where, token.part, token.parts) == ({"source": "token"}, None, None)
    assert (elsewhere.root, elsewhere.where, elsewhere.methods, elsewhere.frames) == ("other", {}, ["fsgan"], 4)


def test_perturb_is_every_kind_and_level_unless_it_says_less(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(ONE + "perturb: {}")
    perturb = read_stream_file(file)[0].perturb
    assert perturb is not None
    assert perturb.kinds == ["saturation", "contrast", "block", "noise", "blur", "jpeg", "h264"]
    assert (perturb.levels, perturb.samples) == ([1, 2, 3, 4, 5], None)
    file.write_text(ONE + "perturb: {kinds: [jpeg], levels: [5, 1], samples: 10}")
    perturb = read_stream_file(file)[0].perturb
    assert perturb is not None
    assert (perturb.kinds, perturb.levels, perturb.samples) == (["jpeg"], [1, 5], 10)
    file.write_text(ONE)
    assert read_stream_file(file)[0].perturb is None


ONE = "name: x\nexperiences: [{name: a, source: folder}]\n"
SETS = "name: x\nsets: {ffpp: {source: ffpp}}\nexperiences: [{name: a, source: prepared, set: ffpp}]\n"
MISTAKES = {
    "root and set": (ONE[:-3] + ", root: c, set: b}]", "experience 'a': give root or set, not both"),
    "set outside the data root": (ONE[:-3] + ", set: ../b}]", "experience 'a': set: String should match pattern"),
    "set that is not described": (SETS.replace("t: f", "t: g"), "unknown set of 'a' 'gfpp': did you mean 'ffpp'?"),
    "typo in sets": (SETS.replace("ffpp}}", "ffpp, clp: 2}}"), "unknown key 'sets.ffpp.clp': did you mean 'clip'?"),
    "no videos": (ONE[:-3] + ", videos: 0}]", "experience 'a': videos: Input should be"),
    "typo in citation": (ONE + "citation: {papr: A}", "the key 'citation.paper' is missing"),
    "address that is none": (ONE + "citation: {paper: A, url: 'javascript:x'}", "citation.url: String should match"),
    "unknown key": (ONE + "memry: 3", "unknown key 'memry': did you mean 'memory'? Known: "),
    "key of split": ("name: x\nsplit: {part: 3}", "the key 'split.parts' is missing"),
    "typo in split": (
        "name: x\ndefaults: {source: s}\nsplit: {parts: 3, shufle: true}",
        "unknown key 'split.shufle': did you mean 'shuffle'? Known: parts, shuffle, seed, growing",
    ),
    "metric": (ONE + "metric: aux", "metric: Input should be 'auc', 'video_auc' or 'accuracy' (got 'aux')"),
    "scope": (ONE + "scope: real", "scope: Input should be 'laboratory', 'deepfakes' or 'other' (got 'real')"),
    "long description": (ONE + f"description: {'a' * 601}", "description: String should have at most 600 characters"),
    "description is a number": (ONE + "description: 3", "description: Input should be a valid string (got 3)"),
    "type": (ONE + "memory: many", "memory: Input should be a valid integer"),
    "negative": (ONE + "memory: -1", "memory: Input should be greater than or equal to 0 (got -1)"),
    "both memories": (
        ONE + "memory: 3\nmemory_per_experience: 3",
        "memory or memory_per_experience, not both",
    ),
    "epochs and steps": (ONE + "epochs: 3\nsteps: 3", "give epochs or steps, not both"),
    "fresh": (ONE + "fresh_model: often", "fresh_model: Input should be a valid boolean"),
    "corrupt": (ONE + "max_corrupt: 5", "max_corrupt: Input should be less than or equal to 1 (got 5)"),
    "no name": ("experiences: []", "the key 'name' is missing"),
    "no experiences": ("name: x", "give a list of experiences, or split: {parts: N}"),
    "both": (ONE + "split: {parts: 2}", "give a list of experiences, or split: {parts: N}, or series: N (one of them)"),
    "no source": ("name: x\nexperiences: [{name: a}]", "experience 'a': the key 'source' is missing"),
    "frames": (
        "name: x\nexperiences: [{name: a, source: s, frames: 0}]",
        "experience 'a': frames: Input should be greater than 0 (got 0)",
    ),
    "part": ("name: x\nexperiences: [{name: a, source: s, part: 1}]", "part and parts belong together"),
    "part too large": (
        "name: x\nexperiences: [{name: a, source: s, part: 4, parts: 3}]",
        "part 4 of 3 parts",
    ),
    "part twice": (
        "name: x\nexperiences: [{name: a, source: s, part: [2, 2], parts: 3}]",
        "part: [2, 2] names a piece twice",
    ),
    "key twice": (ONE + "memory: 3\nmemory: 5", ", line 4: the key 'memory' is there twice"),
    "key of an experience twice": (
        "name: x\nexperiences: [{name: a, source: s, root: a, root: b}]",
        ", line 2: the key 'root' is there twice",
    ),
    "part of an unseen set": (
        ONE + "unseen: [{name: b, source: s, seed: 1}]",
        "unseen set 'b': seed says what to train on, and an unseen set is never trained on",
    ),
    "unseen set without a source": (ONE + "unseen: [{name: b}]", "unseen set 'b': the key 'source' is missing"),
    "unseen set without a name": (ONE + "unseen: [{source: s}]", "unseen set 1: the key 'name' is missing"),
    "unseen set of an experience's name": (
        ONE + "unseen: [{name: a, source: s}]",
        "two experiences or unseen sets are called 'a'; give each its own name",
    ),
    "unseen set called all": (
        ONE + "unseen: [{name: all, source: s}]",
        "unseen set 'all': --skip-tests knows this word already; give the set another name",
    ),
    "unseen set with a comma": (
        ONE + "unseen: [{name: 'b,c', source: s}]",
        "unseen set 'b,c': --skip-tests takes names between commas; give the set another name",
    ),
    "unseen set with a blank": (
        ONE + "unseen: [{name: ' b', source: s}]",
        "unseen set ' b': --skip-tests takes names between commas; give the set another name",
    ),
    "unseen sets by name": (ONE + "unseen: {token: 3}", "unseen: Input should be a valid list"),
    "perturb by name": (ONE + "perturb: jpeg", "perturb: Input should be"),
    "key of perturb": (
        ONE + "perturb: {kind: [jpeg]}",
        "unknown key 'perturb.kind': did you mean 'kinds'? Known: kinds, levels, samples",
    ),
    "kind": (ONE + "perturb: {kinds: [jpg]}", "perturb.kinds.0: Input should be 'saturation', 'contrast', 'block', "),
    "kind twice": (ONE + "perturb: {kinds: [jpeg, jpeg]}", "perturb.kinds: jpeg is there twice"),
    "no level": (ONE + "perturb: {levels: []}", "perturb.levels: List should have at least 1 item"),
    "level": (ONE + "perturb: {levels: [0]}", "perturb.levels.0: Input should be 1, 2, 3, 4 or 5 (got 0)"),
    "one sample": (ONE + "perturb: {samples: 1}", "perturb.samples: Input should be greater than or equal to 2"),
    "yes is not a number": (ONE + "memory: yes", "memory: Input should be a valid integer (got True)"),
    "yes is not a piece": (
        "name: x\nexperiences: [{name: a, source: s, part: yes, parts: 3}]",
        "experience 'a': part.0: Input should be a valid integer (got True)",
    ),
    "not finite": (ONE + "max_corrupt: .nan", ", line 3: .nan is not a finite number"),
    "impossible date": (ONE + "description: 2024-13-41", "not YAML (month must be in 1..12)"),
    "aliases": (
        "a: &a [x]\n"
        + "".join(f"{k}: &{k} [{', '.join(['*' + p] * 9)}]\n" for p, k in zip("abcdefgh", "bcdefghi", strict=True)),
        "values once its aliases are expanded",
    ),
    "same name": (
        "name: x\nexperiences: [{name: a, source: s}, {name: a, source: s}]",
        "two experiences are called 'a'; give each its own name",
    ),
    "not YAML": ("name: [", ", line 1: not YAML ("),
    "a list": ("- 1", "not a stream"),
    "empty": ("", "not a stream"),
    "entry is text": ("name: x\nexperiences: [a]", "experiences.0: Input should be a valid dictionary"),
    "where is text": ("name: x\nexperiences: [{name: a, source: s, where: swap}]", "experience 'a': where: "),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(tmp_path: Path, mistake: str) -> None:
    text, message = MISTAKES[mistake]
    file = tmp_path / "s.yaml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_stream_file(file)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere.yaml: there is no such file"):
        read_stream_file(tmp_path / "nowhere.yaml")
    with pytest.raises(UsageError, match="cannot be read"):
        read_stream_file(tmp_path)


def test_the_streams_in_the_docs_are_valid_and_short(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs/data.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    whole = [block for block in blocks if block.startswith("name:")]  # another one is about two keys alone
    assert len(whole) == 3
    for block in whole:
        (tmp_path / "s.yaml").write_text(block)
        spec, experiences = read_stream_file(tmp_path / "s.yaml")
        assert spec.name
        assert len(experiences) > 1
        assert len(block.splitlines()) < 20
