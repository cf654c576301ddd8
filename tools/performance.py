"""The tables of docs/performance.md, from the kept results of ``python -m perf.all``."""

from __future__ import annotations

import json
from typing import Any

from perf.all import COMMANDS
from perf.results import FOLDER

ROWS: dict[str, dict[str, str]] = {
    "loop": {
        "vs_avalanche": "training `simple_cnn` + replay on CIFAR-10, against Avalanche on torchvision's pictures",
        "vs_avalanche_tensors": "the same, Avalanche on float tensors made in advance",
        "vs_bare": "the same, against a bare PyTorch loop",
    },
    "loader": {
        "vs_pil_dataloader": "shuffled 224 px batches into one buffer, against a `DataLoader` opening JPEGs with PIL "
        "(the faster of 0 and 2 workers)",
    },
    "store": {
        "store_vs_lmdb": "shuffled batches of a prepared set from decoded pixels, against JPEGs in LMDB as "
        "DeepfakeBench reads them, 2 workers",
        "store_vs_files": "the same, against JPEG files, 2 workers",
        "encoded_vs_lmdb": "the same, decoded when fetched, 2 workers, against LMDB",
        "encoded_vs_files": "the same, against files",
    },
    "prepare": {
        "pairs": "`data prepare` of FaceForensics++ videos, against OpenCV reading every frame and MTCNN "
        "on each needed one",
        "alone": "the same, with every fake's faces searched by itself",
    },
    "tune": {
        "vs_bare": "training `xception --preset lite` with `--tune`, against a bare float32 loop",
        "vs_plain": "the same, against dfbench without `--tune`",
    },
    "gem": {
        "projection": "GEM, 9 past experiences, 20 M parameters: a step beyond its passes, against Avalanche",
        "step": "the same, the whole step",
        "memory": "the same, memory beyond that of a plain step (times less)",
    },
    "sweep": {
        "two_workers": "`dfbench sweep --workers 2`, runs of one thread each, against `--workers 1`",
    },
}
"""Result → ratio → what it says. Ratios are "times as fast"."""


def _store(found: dict[str, Any]) -> str:
    opening = found["opening"]
    seconds, gigabytes = opening["seconds"], opening["memory_gb"]
    return (
        f"A prepared set of {opening['rows']:,} rows: {seconds['batch']:.1f} s from the command to the first training "
        f"batch, {seconds['cpu']:.1f} s of it on the processor; {gigabytes:.2f} GB beyond torch and Avalanche"
    )


def _prepare(found: dict[str, Any]) -> str:
    return (
        f"`data prepare` of {found['videos']} videos, {found['frames']} frames each: "
        f"{min(found['same_faces'].values()):.1%} "
        "of the faces are those of the plain way (IoU > 0.8)"
    )


def _prepare_memory(found: dict[str, Any]) -> str:
    peak = found["peak_mb"]
    return (
        f"`data prepare`: memory of a worker, without mapped files, {peak['worker_20']:.0f} MB at most in 20 videos, "
        f"{peak['worker_200']:.0f} MB in 200"
    )


def _long(found: dict[str, Any]) -> str:
    ways = []
    for way, each in found["ways"].items():
        figures = [] if each["whole"] is None else [f"{each['whole']:.2f} × and {each['memory']:.2f} ×"]
        figures += [] if found["brief"] else [f"{each['testing']:.1%}"]
        ways.append(f"`{way}` {', '.join(figures)}")
    text = (
        f"`forge50` with {found['experiences']} experiences, `simple_cnn`: an experience near the end "
        "against one near the beginning (processor time of training, tests and storing), and memory without mapped "
        "files, likewise"
    )
    if found["brief"]:
        return f"{text}, with a narrow network and 25 training videos of each class: {'; '.join(ways)}"
    return f"{text}; share of the run's seconds on test sets: {'; '.join(ways)}"


def _sweep(found: dict[str, Any]) -> str:
    plan = found["plan"]
    return f"A grid of {plan['runs']:,} runs: {plan['seconds']:.1f} s to expand it and to see what is done"


def _board(found: dict[str, Any]) -> str:
    seconds, opened = found["seconds"], found["opened"]
    builds = ", ".join(
        f"{seconds[way]['processor']:.1f} s of the processor ({seconds[way]['wall']:.1f} s passed) {words}"
        for way, words in (
            ("from_nothing", "from nothing"),
            ("one_more", "after one more record"),
            ("unchanged", "where nothing changed"),
        )
    )
    disk, http = opened["disk"], opened["http"]
    return (
        f"A leaderboard of {found['records']:,} records: `leaderboard build` takes {builds}. Its page shows the first "
        f"rows after {disk['shown_seconds']:.2f} s from disk and {http['shown_seconds']:.2f} s over HTTP, with "
        f"{disk['bytes_before_a_row'] / 1e6:.2f} MB; a row that is opened takes {http['row_seconds']:.2f} s and "
        f"{http['bytes_of_a_row'] / 1e3:.0f} kB"
    )


SENTENCES = {
    "store": _store, "prepare": _prepare, "prepare_memory": _prepare_memory, "long": _long, "board": _board,
    "sweep": _sweep,
}  # fmt: skip
"""Result → what it says beyond its ratios."""


def performance() -> str:
    """A line per ratio that is kept; where there is no result, its command alone."""
    lines = ["", "| | times as fast | command | machine |", "|---|---|---|---|"]
    missing = []
    for name, rows in ROWS.items():
        found = _result(name)
        if found is None:
            missing.append(name)
            continue
        for key, text in rows.items():
            lines.append(f"| {text} | {found['ratios'][key]:.2f} × | `{found['command']}` | {machine(found)} |")
    if (found := _result("strategies")) is not None:
        ratios = ", ".join(f"`{name}` {1 / ratio:.2f}" for name, ratio in found["ratios"].items())
        text = "training, dfbench against native Avalanche, by strategy"
        lines.append(f"| {text} | {ratios} | `{found['command']}` | {machine(found)} |")
    if len(lines) == 3:
        lines = []
    missing += [name for name in COMMANDS if name not in ROWS and _result(name) is None]
    for name, text in (("evaluation", "Share of evaluating in a run of ten experiences with ten test sets"),):
        if (found := _result(name)) is not None:
            shares = ", ".join(f"{strategy} {share:.3f}" for strategy, share in found["shares"].items())
            lines += ["", f"{text}: {shares} (`{found['command']}`; {machine(found)})."]
    for name, sentence in SENTENCES.items():
        if (found := _result(name)) is not None:
            lines += ["", f"{sentence(found)} (`{found['command']}`; {machine(found)})."]
    if (found := _result("dfdc3")) is not None:
        waiting, bare = found["ratios"]["waiting"], found["ratios"]["time_vs_bare"]
        lines += ["", f"`dfdc3 --preset lite`: {bare:.2f} × the time of a bare loop, {waiting:.1%} of it waiting for "
                  f"batches (`{found['command']}`; {machine(found)})."]  # fmt: skip
    if missing:
        names = ", ".join(f"`{name}`" for name in dict.fromkeys(missing))
        lines += [
            "",
            f"No result is kept yet, so there is no figure: {names} (`python -m perf.all NAME`).",
        ]
    return "\n".join(lines) + "\n\n"


def machine(found: dict[str, Any]) -> str:
    """Processor, the instructions that decide, threads, torch and date of a result."""
    here = found["machine"]
    decisive = [flag for flag in here["processor_flags"] if flag in ("avx512f", "avx512_bf16", "amx_bf16")]
    flags = f" with {', '.join(decisive)}" if decisive else " without AVX-512"
    busy = f", load {found['load_before']:g} before" if found["load_before"] > 0.5 else ""
    threads = f"{here['threads']} thread{'s' * (here['threads'] != 1)}"
    return f"{here['processor']}{flags}, {threads}, torch {here['packages']['torch']}, {found['date']}{busy}"


def _result(name: str) -> dict[str, Any] | None:
    path = FOLDER / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
