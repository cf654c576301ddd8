"""Videos of your own: ``train|val|test / real|fake / …``, or anywhere with a manifest CSV."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path

from dfbench.data.pictures import VIDEOS
from dfbench.data.prepare.item import Item
from dfbench.data.prepare.sources.contract import About, DataSet, Scan
from dfbench.data.samples import SPLITS
from dfbench.data.sources.folder import CLASS_FOLDERS, SPLIT_FOLDERS
from dfbench.errors import DataError

LABELS = {"0": 0, "real": 0, "1": 1, "fake": 1}
KINDS = ("video", "frames", "picture")


class Videos(DataSet):
    """Videos in folders, or listed in a manifest with the columns of :class:`Item`."""

    name = "videos"
    about = About(
        title="videos of your own, in folders or listed in a manifest",
        access="your own files",
        licence="your own",
        counts="your own",
        citation="none",
        tree="""\
{train,val,test}/real/…/VIDEO.mp4
{train,val,test}/fake/[METHOD/]…/VIDEO.mp4
or --option manifest=FILE.csv with the columns path (relative to the root),
label (0, 1, real, fake), split, and where known video, method, identity,
pair (the video of the real that a fake is aligned with), mask,
kind (video, frames, picture), cropped (0, 1)""",
        splits="as the folders or the manifest say",
        traps=("people in two splits go unnoticed unless the manifest has the column identity",),
    )

    def read(self, root: Path, *, manifest: str | None = None) -> Scan:
        """The videos.

        Args:
            root: the folder.
            manifest: a CSV file, relative to the root.

        Raises:
            DataError: there is nothing in this layout, or the manifest is wrong.
        """
        if manifest is not None:
            return Scan(list(_listed(root, root / manifest)))
        found = list(_found(root))
        if not found:
            there = ", ".join(sorted(child.name for child in root.iterdir())[:8]) or "nothing"
            raise DataError(
                f"{root}: no videos in the layout {{train,val,test}}/{{real,fake}}/VIDEO.mp4; it holds {there}. "
                f"Arrange them like this, or list them (--option manifest=FILE.csv); {self.advice}"
            )
        return Scan(found)


def _found(root: Path) -> Iterator[Item]:
    for split_folder in sorted(root.iterdir()):
        split = SPLIT_FOLDERS.get(split_folder.name.lower())
        if split is None or not split_folder.is_dir():
            continue
        for class_folder in sorted(split_folder.iterdir()):
            label = CLASS_FOLDERS.get(class_folder.name.lower())
            if label is None or not class_folder.is_dir():
                continue
            for path in _videos(class_folder):
                below = path.relative_to(class_folder).parts[:-1]
                method = "real" if label == 0 else below[0] if below else "fake"
                name = path.relative_to(root).with_suffix("").as_posix()
                yield Item(path, name, label, split, method, None, None, None)


def _videos(top: Path) -> Iterator[Path]:
    """Video files at and below a folder, in a fixed order; each real folder once, even if links form a loop."""
    seen: set[tuple[int, int]] = set()
    for folder, below, files in os.walk(top, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            below.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        below[:] = sorted(name for name in below if not name.startswith("."))
        yield from (
            Path(folder, name)
            for name in sorted(files)
            if not name.startswith(".") and Path(name).suffix.lower() in VIDEOS
        )


def _listed(root: Path, manifest: Path) -> Iterator[Item]:
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            columns = reader.fieldnames or []
            for needed in ("path", "label", "split"):
                if needed not in columns:
                    raise DataError(
                        f"{manifest}: column {needed!r} is missing; there are {', '.join(columns) or 'none'}"
                    )
            for row in reader:
                yield _item(root, row, f"{manifest}, line {reader.line_num}")
    except OSError as error:
        raise DataError(f"{manifest}: cannot be read ({error.strerror or error})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{manifest}: not a CSV file in UTF-8 ({error})") from None


def _item(root: Path, row: dict[str, str], where: str) -> Item:
    path, label = row["path"], row["label"].strip().lower()
    kind, split = row.get("kind") or "video", SPLIT_FOLDERS.get(row["split"].strip().lower(), row["split"])
    if label not in LABELS:
        raise DataError(f"{where}: label {row['label']!r} is none of {', '.join(LABELS)}")
    for what, value, known in (("split", split, SPLITS), ("kind", kind, KINDS)):
        if value not in known:
            raise DataError(f"{where}: {what} {value!r} is none of {', '.join(known)}")
    if not path or not (root / path).resolve().is_relative_to(root.resolve()):
        raise DataError(f"{where}: path {path!r} is not below {root}")
    mask = row.get("mask")
    return Item(
        path=root / path,
        video=row.get("video") or Path(path).with_suffix("").as_posix(),
        label=LABELS[label],
        split=split,
        method=row.get("method") or ("fake" if LABELS[label] else "real"),
        identity=row.get("identity") or None,
        pair=row.get("pair") or None,
        mask=root / mask if mask else None,
        kind=kind,
        cropped=(row.get("cropped") or "0").strip().lower() in ("1", "true", "yes"),
    )
