"""Draw docs/img/forge5.png: pristine, the five forgeries and the held-out one, several people, several frames."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from dfbench.forge import render

PEOPLE = 6
FRAMES = (3, 11)
WIDTH = 104


def label(text: str, width: int) -> np.ndarray:
    """A white strip with centred text."""
    strip = np.full((16, width, 3), 255, np.uint8)
    (wide, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.36, 1)
    cv2.putText(strip, text, ((width - wide) // 2, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (40, 40, 40), 1, cv2.LINE_AA)
    return strip


def main() -> None:
    """People down, versions across; every version with its frames side by side."""
    people = render.identities("train")[33 :: len(render.identities("train")) // PEOPLE][:PEOPLE]
    lines = []
    for person in people:
        tiles = []
        for number, family in enumerate((*render.families(), *render.held_out())):
            pictures = [image for _, image in render.render(person, family, FRAMES)]
            half = len(FRAMES)
            chosen = pictures[:half] + pictures[half:] if number == 0 else pictures[half:]
            tiles += [cv2.resize(image, (WIDTH, WIDTH), interpolation=cv2.INTER_AREA) for image in chosen]
        lines.append(np.hstack(tiles))
    names = ["pristine", *(name.replace("_", " ") for name in (*render.families(), *render.held_out()))]
    head = np.hstack([label(name, WIDTH * len(FRAMES)) for name in names])
    sheet = np.vstack([head, *lines])
    path = Path(__file__).parents[1] / "docs" / "img" / "forge5.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    # 256 colours keep the file small.
    Image.fromarray(sheet).quantize(256, kmeans=2, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)
    print(f"{path.name}: {sheet.shape[1]}x{sheet.shape[0]}, {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
