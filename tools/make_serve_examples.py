"""Make the examples of ``dfbench serve``: ``python -m tools.make_serve_examples``.

Synthetic people of the embedded pack: a pristine and a forged picture of one, and a short video of another, the second
half of it forged. Both are test people whom the model that comes with dfbench distinguishes: the files show what the
page does, not how good the model is.
"""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image

from dfbench.forge.render import identities, render_clip

FOLDER = Path(__file__).parents[1] / "dfbench" / "publish" / "serve" / "assets" / "examples"
PICTURE, VIDEO = 28, 16
"""Numbers of the people, among those of the test split."""
FRAMES, SIDE, RATE = 16, 224, 8


def main() -> None:
    """Write the three files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    person = identities("test")[PICTURE]
    clean, fake, _ = render_clip(person, "face_swap", (2,))
    for name, frames in (("pristine", clean), ("forged", fake)):
        Image.fromarray(_large(frames[0])).save(FOLDER / f"{name}.jpg", quality=92)
    person = identities("test")[VIDEO]
    clean, fake, _ = render_clip(person, "face_swap", range(FRAMES))
    _write(FOLDER / "video.mp4", [*clean, *fake])


def _large(frame: np.ndarray) -> np.ndarray:
    return cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


def _write(path: Path, frames: list[np.ndarray]) -> None:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=RATE)
        stream.height = stream.width = SIDE
        stream.pix_fmt = "yuv420p"
        stream.options = {"preset": "slow", "crf": "20", "threads": "1"}
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(_large(frame), format="rgb24")))
        file.mux(stream.encode())


if __name__ == "__main__":
    main()
