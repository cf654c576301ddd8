"""Labels against a second source, the balance of the classes, and the partners of the fakes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from dfbench.data.audit.media import Facts
from dfbench.data.audit.result import Check, judged
from dfbench.data.prepare.item import Item

SPLITS = ("train", "val", "test")
REAL_WORDS = frozenset({
    "real", "reals", "0_real", "real_train", "real_test", "original", "originals", "original_videos",
    "original_sequences", "celeb-real", "youtube-real", "nature", "pristine", "authentic", "realvideo-realaudio",
})  # fmt: skip
FAKE_WORDS = frozenset({
    "fake", "fakes", "1_fake", "fake_train", "fake_test", "manipulated", "manipulated_videos", "manipulated_sequences",
    "synthesized_videos", "celeb-synthesis", "ai", "fakevideo-realaudio", "fakevideo-fakeaudio", "deepfakes",
})  # fmt: skip
INVERTED = 0.9
"""From this share of contradictions on the labels as a whole look inverted."""


def labels(items: Sequence[Item], second: Mapping[str, int]) -> Check:
    """The labels against what a second source says: the set's own list, or else the names of the folders.

    Args:
        items: all items.
        second: ``video`` → label, where a second source names one.
    """
    name = "labels"
    said = {item.video: second[item.video] if item.video in second else _by_words(item) for item in items}
    known = [item for item in items if said[item.video] is not None]
    if not known:
        return Check(name, "not checked", detail="neither a list nor a folder says what is real")
    cases = [f"{i.video} is {_word(i.label)}, by its {'list' if i.video in second else 'folder'} {_word(said[i.video])}"
             for i in known if said[i.video] != i.label]  # fmt: skip
    inverted = ": they look inverted" if len(cases) >= INVERTED * len(known) else ""
    return judged(
        name,
        cases,
        f"{len(known)} labels agree with a list or folder",
        f"of {len(known)} labels are contradicted{inverted}",
    )


def _by_words(item: Item) -> int | None:
    """What the folders say, if they do and agree."""
    parts = {part.lower() for part in item.video.split("/")[:-1]}
    real, fake = bool(parts & REAL_WORDS), bool(parts & FAKE_WORDS)
    return int(fake) if real != fake else None


def _word(label: int | None) -> str:
    return "fake" if label else "real"


def balance(items: Sequence[Item]) -> Check:
    """Each split that there is has both classes; says how many of each."""
    counts = Counter((item.split, item.label) for item in items)
    here = [split for split in SPLITS if counts[split, 0] or counts[split, 1]]
    figures = ", ".join(f"{split} {counts[split, 0]}/{counts[split, 1]}" for split in here)
    cases = [f"{split} has no {_word(label)}s" for split in here for label in (0, 1) if not counts[split, label]]
    cases += [f"there is no {split} split" for split in ("train", "test") if split not in here]
    check = judged("class balance", cases, f"real/fake: {figures}", f"splits or classes missing; real/fake: {figures}")
    only_tests = {item.split for item in items} == {"test"} and counts["test", 0] and counts["test", 1]
    return Check(check.name, "passed", 0, f"real/fake: {figures}, for testing only") if only_tests else check


def partners(items: Sequence[Item]) -> Check:
    """A fake that names a real partner has it here."""
    name = "missing partners"
    reals = {item.video for item in items if not item.label}
    paired = [item for item in items if item.pair is not None]
    if not paired:
        return Check(name, "not checked", detail="no fake names a partner")
    cases = [f"{item.video} lacks {item.pair}" for item in paired if item.pair not in reals]
    return judged(name, cases, f"{len(paired)} fakes have their real", f"of {len(paired)} fakes lack their real")


def aligned(items: Sequence[Item], facts: Mapping[str, Facts]) -> Check:
    """A fake and its real have the same number of frames and the same size; otherwise they are not aligned by frame."""
    name = "aligned pairs"
    cases, count = [], 0
    for item in items:
        if item.pair is not None and item.pair in facts and item.video in facts:
            fake, real = facts[item.video], facts[item.pair]
            count += 1
            if (fake.frames, fake.width, fake.height) != (real.frames, real.width, real.height):
                cases.append(f"{item.video}: {_shape(fake)}, its real {_shape(real)}")
    if not count:
        return Check(name, "not checked", detail="no fake has a readable partner")
    return judged(
        name, cases, f"{count} pairs have equal frames and sizes", f"of {count} pairs differ in frames or size"
    )


def _shape(facts: Facts) -> str:
    return f"{facts.frames} frames of {facts.width}×{facts.height}"
