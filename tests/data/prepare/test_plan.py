"""What belongs together, and in which order it is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfbench.data.prepare.item import Item
from dfbench.data.prepare.plan import check_items, fingerprint, limited, make_groups, make_shards
from dfbench.errors import DataError


def item(video: str, label: int = 0, split: str = "train", method: str = "", pair: str | None = None) -> Item:
    return Item(Path(f"/x/{video}.mp4"), video, label, split, method or ("f" if label else "real"), None, pair, None)


def test_a_real_and_the_fakes_of_it_are_one_group_and_a_fake_without_its_real_is_alone() -> None:
    items = [item("f2", 1, pair="r1"), item("r2"), item("f1", 1, pair="r1"), item("f3", 1, pair="lost"), item("r1")]
    groups = [[each.video for each in group.items] for group in make_groups(items)]
    assert groups == [["f3"], ["r1", "f1", "f2"], ["r2"]]


def test_a_fake_is_not_grouped_with_a_real_of_another_split() -> None:
    groups = make_groups([item("r"), item("f", 1, "test", pair="r")])
    assert [len(group.items) for group in groups] == [1, 1]


def test_shards_hold_one_split_and_about_as_many_rows_as_planned() -> None:
    items = [item(f"{split}{i:03d}", split=split) for split in ("test", "train") for i in range(300)]
    made = make_shards(make_groups(items), 32)
    assert [(shard.name, len(shard.groups)) for shard in made] == [
        ("train-00000", 128), ("train-00001", 128), ("train-00002", 44),
        ("test-00000", 128), ("test-00001", 128), ("test-00002", 44),
    ]  # fmt: skip


def test_a_limit_takes_videos_from_everywhere_and_fakes_of_the_reals_that_were_taken() -> None:
    items = [item(f"r{i}") for i in range(9)] + [item(f"f{i}", 1, pair=f"r{i}") for i in range(9)]
    assert sorted(each.video for each in limited(items, 3)) == ["f1", "f4", "f7", "r1", "r4", "r7"]
    assert limited(items, 0) == items
    assert len(limited(items, 20)) == 18


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "no videos"),
        ([item("a"), item("a")], "two videos are called 'a'"),
        ([item("a", split="dev")], "split 'dev'"),
        ([item("a", label=2)], "label 2"),
        ([item("a\udce9")], "not UTF-8"),
        ([item("f", 1), item("g", 1, pair="f")], "must be a real"),
    ],
)
def test_items_that_break_the_contract_are_refused(items: list[Item], message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_items(items, "set")


def test_a_fingerprint_knows_contents_and_not_places(tmp_path: Path) -> None:
    prints = []
    for folder, content in (("a", b"1"), ("b", b"1"), ("c", b"22")):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "v.mp4"
        path.write_bytes(content)
        prints.append(fingerprint([Item(path, "v", 0, "train", "real", None, None, None)]))
    assert prints[0] == prints[1] != prints[2]
