"""Write the held-out family as a folder source, to see what a detector that is trained on it learns.

    python tools/held_out.py FOLDER && dfbench eval -d simple_cnn -s naive -b FOLDER/stream.yaml --split val

The benchmark has no training pictures of it, so this is the only way to train on it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

from dfbench.forge import render

STREAM = """name: held-out-alone
epochs: 6
experiences:
{}"""


def main(folder: Path) -> None:
    """All people, the frames that forge5 takes, one experience per held-out family."""
    for family in render.held_out():
        for person in render.identities():
            for row, picture in render.render(person, family):
                path = (
                    folder / family / row["split"] / ("real", "fake")[row["label"]] / person / f"{row['frame']:02d}.png"
                )
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(path)
    entries = [f"  - {{name: {family}, source: folder, root: {family}}}\n" for family in render.held_out()]
    (folder / "stream.yaml").write_text(STREAM.format("".join(entries)), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
