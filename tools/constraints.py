"""Versions with which the records on the leaderboard were made, as pip takes them: ``python -m tools.constraints``."""

from __future__ import annotations

from collections import Counter

from dfbench.files import write_whole
from dfbench.records.record import Record
from tools.tables import ROOT, leaderboard

FOLDER = ROOT / "constraints"
OWN = "dfbench-deepfake"


def constraints() -> dict[str, str]:
    """Name → text of a file for each version of PyTorch: the packages of its newest record."""
    by_torch: dict[str, list[Record]] = {}
    for record in sorted(leaderboard(), key=lambda record: record.created):
        torch = record.environment.packages.get("torch")
        if torch and record.environment.device == "cpu":
            by_torch.setdefault(torch, []).append(record)
    return {f"torch-{torch}.txt": _text(torch, records) for torch, records in by_torch.items()}


def _text(torch: str, records: list[Record]) -> str:
    newest = records[-1].environment
    python = Counter(record.environment.python for record in records).most_common(1)[0][0]
    lines = [
        f"# {len(records)} records on the leaderboard were made with these versions, on Python {python}.",
        f"# pip install -c constraints/torch-{torch}.txt -e .",
    ]
    packages = sorted((name, version) for name, version in newest.packages.items() if version and name != OWN)
    return "\n".join([*lines, *(f"{name}=={version}" for name, version in packages)]) + "\n"


def main() -> None:
    """Write the files, and remove those that no record stands behind."""
    found = constraints()
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.txt"):
        if path.name not in found:
            path.unlink()
    for name, text in found.items():
        write_whole(FOLDER / name, text.encode())


if __name__ == "__main__":
    main()
