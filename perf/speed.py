"""What ``--tune`` gains, and what share of a run is spent evaluating.

* ``tune``: Xception (``lite``) on ``forge5``'s first experience, with the settings that ``--tune`` finds here, against
  a bare float32 loop: the same network in torch's own memory layout, plain Adam, uint8 pictures in memory, the same
  augmentation and batches of the same size, nothing else. dfbench without ``--tune`` runs with them. They take turns
  (``perf.turns``) and each makes the same number of steps. A CPU without bf16 instructions has little to gain.
* ``evaluation``: ``dfbench eval`` of ``simple_cnn`` on a stream of ten experiences with a test set each, in the
  proportions of ``forge5`` (1440 training and 480 test pictures of 112 px per experience, divided by ``--divide``; 6
  epochs), made here of noise. The share is that of the record: seconds of evaluating in those of training and
  evaluating, ten trainings and eleven evaluations of ten test sets. The goal is that of the main job, replay. Under
  naive a step is half as long and the share is near what the counts of pictures give: 11 · 10 · 480 forward passes to
  10 · 6 · 1440 of three times the cost, 17 %. Reading the pictures in is timed apart.

``perf.strategies`` is the command.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from dfbench import Batch
from dfbench.plugins import registry
from dfbench.runs.allocator import keep_freed_memory
from dfbench.runs.prepare import Request, prepare
from dfbench.runs.runner import run
from dfbench.runs.session import Session
from dfbench.runs.tuning import measure
from perf.turns import EachStep, Turns

CPU = torch.device("cpu")
FASTER = 2.0
"""``--tune`` against a bare float32 loop, where the CPU has bf16 instructions."""
SHARE = 0.15
"""Of a run of ten experiences, at most, is spent evaluating."""
WARM, STEPS = 4, 24
"""Steps before timing; steps timed."""


def has_bf16() -> bool:
    """Whether this CPU has bf16 instructions (Linux)."""
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.is_file() and {"avx512_bf16", "amx_bf16", "bf16"} & set(cpuinfo.read_text().split()) != set()


class Enough(BaseException):
    """Ends a training that made its steps."""


def counted(name: str, turns: Turns, marks: dict[str, list[float]]) -> Callable[[], None]:
    """A step of ``name``: its turn goes on or ends; after the last one its training does."""
    made = 0

    def step() -> None:
        nonlocal made
        made += 1
        turns.step(name)
        marks[name].append(turns.seconds[name])
        if made == WARM + STEPS:
            raise Enough

    return step


def ours(session: Session) -> Callable[[], None]:
    """The first experience through dfbench, until enough steps were made."""

    def train() -> None:
        try:
            session.train(1)
        except Enough:
            session.close()

    return train


def bare(session: Session, step: Callable[[], None]) -> Callable[[], None]:
    """The same steps with nothing around them, in float32, in the layout that torch gives a network."""
    detector, config = session.detector, session.detector.config
    e = session.stream.experiences[0]
    pixels = session.loader.pixels.fetch(e.rows["train"])
    labels = torch.from_numpy(session.stream.samples.label[e.rows["train"]].astype(np.int64))
    model = detector.build().to(memory_format=torch.contiguous_format).train()  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)

    def batches() -> Iterator[Batch]:
        while True:
            for ids in torch.randperm(len(pixels)).split(config.batch_size):
                yield Batch(pixels[ids], labels[ids], ids, torch.zeros(len(ids), dtype=torch.int64))

    def train() -> None:
        try:
            for batch in batches():
                optimizer.zero_grad()
                x = detector.inputs(batch, training=True).contiguous()
                torch.nn.functional.cross_entropy(model(x), batch.labels).backward()
                optimizer.step()
                step()
        except Enough:
            pass

    return train


def tune() -> dict[str, Any]:
    """Seconds a step of the three, and their ratios."""
    keep_freed_memory()  # as ``dfbench eval`` does
    known = registry()
    names = ["tuned", "plain", "bare"]
    turns, marks = Turns(names, every=1), {name: [0.0] for name in names}

    def session(name: str, settings: tuple[str, ...]) -> Session:
        request = Request(
            "xception", "naive", "forge5", preset="lite", device="cpu", tune=",".join(settings) or "plain"
        )
        prepared = prepare(request, known)
        step = counted(name, turns, marks)

        return Session(prepared, EachStep(step))

    request = Request("xception", "naive", "forge5", preset="lite", device="cpu", tune="measure")
    found = measure(prepare(request, known))
    chosen = tuple(found["chosen"])
    print(f"--tune chose {', '.join(chosen) or 'plain float32'} in {found['seconds']:.0f} s")
    tuned, plain = session("tuned", chosen), session("plain", ())
    ways = {"tuned": ours(tuned), "plain": ours(plain), "bare": bare(plain, counted("bare", turns, marks))}
    turns.run(ways)
    seconds = {name: (marks[name][-1] - marks[name][WARM]) / STEPS for name in names}
    for name, each in seconds.items():
        print(f"{name:8}{each:8.3f} s a step")
    ratios = {f"vs_{name}": round(seconds[name] / seconds["tuned"], 2) for name in ("bare", "plain")}
    bf16 = has_bf16()
    ok = ratios["vs_bare"] >= FASTER if bf16 else None
    return {"name": "tune", "chosen": chosen, "ratios": ratios, "goal": FASTER, "bf16_instructions": bf16, "ok": ok,
            "seconds_a_step": seconds}  # fmt: skip


def make_stream(folder: Path, divide: int) -> Path:
    """Ten experiences of noise pictures whose fakes have a darker block at another place each time."""
    rng = np.random.default_rng(0)
    lines = ["name: ten", "metric: auc", "memory: 200", "epochs: 6", "defaults: {source: folder}", "experiences:"]
    for e in range(10):
        lines.append(f"  - {{name: e{e}, root: e{e}}}")
        for split, count in (("train", 720), ("val", 24), ("test", 240)):
            for label, name in enumerate(("real", "fake")):
                place = folder / f"e{e}" / split / name
                place.mkdir(parents=True)
                for number in range(max(count // divide, 2)):
                    picture = rng.integers(0, 256, (112, 112, 3), dtype=np.uint8)
                    if label:
                        picture[8 * e : 8 * e + 24] //= 2
                    cv2.imwrite(str(place / f"{number}.jpg"), picture)
    path = folder / "ten.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def evaluation(divide: int) -> dict[str, Any]:
    """Share of evaluating in runs under replay and naive."""
    keep_freed_memory()
    shares = {}
    with tempfile.TemporaryDirectory() as folder:
        stream = make_stream(Path(folder), divide)
        for strategy in ("replay", "naive"):
            request = Request("simple_cnn", strategy, str(stream), device="cpu", out=Path(folder) / "runs")
            began = time.perf_counter()
            seconds = run(request, registry()).seconds
            rest = time.perf_counter() - began - seconds.total
            train, evaluate = sum(seconds.train), sum(seconds.evaluate)
            shares[strategy] = round(evaluate / (train + evaluate), 3)
            print(f"{strategy:8} training {train:.1f} s, evaluating {evaluate:.1f} s ({len(seconds.evaluate)} times "
                  f"ten test sets), share {shares[strategy]:.3f}; the rest of the program {rest:.1f} s")  # fmt: skip
    return {"name": "evaluation", "shares": shares, "goal": SHARE, "ok": shares["replay"] <= SHARE}
