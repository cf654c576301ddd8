"""What an answer of ``dfbench predict`` takes: ``python -m perf.predict``.

* ``picture``: the whole command on one picture against ``python -c "import torch"``, processes in turns; the least time
  of each counts, since other work on the machine only adds. Goal: at most 3 times.
* ``video``: ten seconds of 720p (a portrait that moves, H.264), faces searched and 32 frames judged, the network and
  the face detector loaded before; seconds of processor time per second of video, on one thread. Goal: at most .5.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from dfbench.data.prepare.faces import Mtcnn
from dfbench.forge.pack import identities, portrait
from dfbench.plugins import registry
from dfbench.publish.predict.looking import Options
from dfbench.publish.predict.run import Judge
from dfbench.publish.zoo.resolve import resolve
from perf import results
from perf.prepare import film

MODEL = "simple_cnn-replay-forge5"
SIZE, COUNT = (1280, 720), 250
GOALS = {"picture": 3.0, "video": 0.5}


def main() -> None:
    """Print both figures next to their goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    results.add_json(parser)
    arguments, began = parser.parse_args(), results.load()
    with tempfile.TemporaryDirectory() as folder:
        picture = _picture(Path(folder), arguments.turns)
        video = _video(Path(folder), arguments.turns)
    result = {"name": "predict", **picture, **video, "goals": GOALS}
    results.report(result, arguments.json, began)


def _picture(folder: Path, turns: int) -> dict[str, float]:
    file = folder / "portrait.png"
    Image.fromarray(portrait(identities()[0]).image).save(file)
    commands = {
        "torch": [sys.executable, "-c", "import torch"],
        "predict": [sys.executable, "-m", "dfbench", "predict", str(file), "--device", "cpu", "--json"],
    }
    least: dict[str, float] = {}
    for _ in range(turns):
        for name, command in commands.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            taken = time.perf_counter() - start
            least[name] = min(least.get(name, taken), taken)
    return {
        "picture": round(least["predict"] / least["torch"], 2),
        "picture_seconds": round(least["predict"], 2),
        "torch_seconds": round(least["torch"], 2),
    }


def _video(folder: Path, turns: int) -> dict[str, float]:
    file = folder / "film.mp4"
    film(file, 0, 0, SIZE, COUNT)
    known = registry()
    judge = Judge(resolve(MODEL, known), known, Mtcnn(None, "cpu"), "cpu")
    spent = []
    for _ in range(turns):
        start = time.process_time()
        answer = judge.judge(file, Options())
        spent.append(time.process_time() - start)
        assert len(answer.faces[0].face.looks) == 32, answer.judgement
    return {"video": round(min(spent) / (COUNT / 25), 3), "video_seconds": round(min(spent), 2)}


if __name__ == "__main__":
    main()
