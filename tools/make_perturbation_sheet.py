"""Draw docs/img/perturbations.jpg: one face under every kind and level of degradation."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from make_contact_sheet import label
from PIL import Image

from dfbench.data.perturb import KINDS, LEVELS, perturb, perturbation_seed
from dfbench.data.pictures import resize
from dfbench.forge import pack

WIDTH = 104


def main() -> None:
    """Kinds across, levels down, the original on top."""
    person = pack.identities("train")[36]
    face = resize(pack.portrait(person).image[16:240, 16:240], 256, 256)
    columns = []
    for kind in KINDS:
        copies = [
            face,
            *(perturb(face[None], kind, level, perturbation_seed(kind, level, person))[0] for level in LEVELS),
        ]
        tiles = [cv2.resize(copy, (WIDTH, WIDTH), interpolation=cv2.INTER_AREA) for copy in copies]
        columns.append(np.vstack([label(kind, WIDTH), *tiles]))
    path = Path(__file__).parents[1] / "docs" / "img" / "perturbations.jpg"
    Image.fromarray(np.hstack(columns)).save(path, quality=88)
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
