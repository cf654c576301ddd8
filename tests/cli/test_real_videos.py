"""From three downloads to a row: miniature trees of Celeb-DF, FaceForensics++ and DFDC, with the embedded faces."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from dfbench.data.prepare.sources.ffpp import official_pairs
from dfbench.data.prepare.sources.split import by_hash
from dfbench.records.record import Record
from tests.conftest import Done, dfbench
from tests.data.prepare.films import forged, moving, write_video

FRAMES = 18
SMALLEST = ("--preset", "lite", "--set", "steps=2", "--set", "warm_up=1", "--set", "batch_size=2", "--set",
            "pretrained=false", "--set", "height=32", "--set", "width=32")  # fmt: skip


class Downloads:
    """Grows the trees; every person has a face of the pack of their own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.faces = itertools.count()
        self.people: dict[str, int] = {}

    def pair(self, person: str, real: str, fake: str) -> None:
        """A real of somebody, and a fake that is aligned with it."""
        number = self.people.setdefault(person, next(self.faces))
        frames = moving(number, FRAMES)
        write_video(self.root / real, frames)
        write_video(self.root / fake, forged(frames))

    def celeb_df(self) -> None:
        for split in ("train", "test"):
            ids = [f"id{n}" for n in range(60) if by_hash(f"celeb-df/id{n}") == split][:2]
            for person, other in (ids, ids[::-1]):
                fake = f"celeb/Celeb-synthesis/{person}_{other}_0000.mp4"
                self.pair(person, f"celeb/Celeb-real/{person}_0000.mp4", fake)
        (self.root / "celeb/YouTube-real").mkdir()
        (self.root / "celeb/List_of_testing_videos.txt").write_text(f"1 Celeb-real/{ids[0]}_0000.mp4\n")

    def ffpp(self) -> None:
        for split in ("train", "test"):
            for target, source in itertools.permutations(official_pairs()[split][0]):
                fake = f"ff/manipulated_sequences/Face2Face/c23/videos/{target}_{source}.mp4"
                self.pair(target, f"ff/original_sequences/youtube/c23/videos/{target}.mp4", fake)

    def dfdc(self) -> None:
        for part in (0, 45):
            folder, listing = f"dfdc/dfdc_train_part_{part}", {}
            for n in range(2):
                real, fake = f"real{part}{n}.mp4", f"fake{part}{n}.mp4"
                self.pair(real, f"{folder}/{real}", f"{folder}/{fake}")
                listing |= {real: {"label": "REAL"}, fake: {"label": "FAKE", "original": real}}
            (self.root / folder / "metadata.json").write_text(json.dumps(listing))


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    grown = Downloads(tmp_path_factory.mktemp("downloads"))
    grown.celeb_df()
    grown.ffpp()
    grown.dfdc()
    return grown.root


def prepared(downloads: Path, data: Path, faces: str) -> list[Done]:
    """The commands that the benchmark's error gives, each with its root."""
    refused = dfbench("eval", "-d", "dfdc3", "-s", "replay", "-b", "report-exp4", "--data-root", data, *SMALLEST)
    assert refused.code == 3
    assert len(refused.err.strip().splitlines()[-1:]) == 1
    commands = [part.split(" (FOLDER")[0] for part in refused.err.split("dfbench data prepare ")[1:]]
    assert len(commands) == 3
    roots = {"celeb-df-v2": "celeb", "ffpp": "ff", "dfdc": "dfdc"}
    done = []
    for words in (command.strip().rstrip(";").split() for command in commands):
        words[words.index("FOLDER")] = str(downloads / roots[words[0]])
        done.append(dfbench("data", "prepare", *words, "--size", 64, "--faces", faces, "--workers", 0, "--json"))
    return done


@pytest.mark.parametrize("faces", ["centre", pytest.param("mtcnn", marks=pytest.mark.slow)])
def test_three_downloads_become_a_row_of_dfdc3_with_replay(faces: str, downloads: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for done in prepared(downloads, data, faces):
        assert done.code == 0, done.err
        assert (done.json["videos"], done.json["failed"], done.json["crops"]) == (8, 0, 8 * 16)
        leaks = [check for check in done.json["audit"]["checks"] if check["kind"] in ("leak", "label")]
        assert all(check["status"] != "failed" for check in leaks)
    run = dfbench("eval", "-d", "dfdc3", "-s", "replay", "-b", "report-exp4", "--data-root", data, *SMALLEST,
                  "--device", "cpu", "--out", tmp_path / "runs", "--json")  # fmt: skip
    assert run.code == 0, run.err
    record = Record.read(Path(run.json["record"]))
    assert (record.headline, record.names) == ("video_auc", ["Celeb-DF", "Face2Face", "DFDC"])
    assert (record.spec.memory, record.data.allowed_leaks) == (500, [])
    assert record.data.citation is not None
    assert record.data.citation.section == "experiment 4"
    assert "allowed_leaks" not in record.document()["data"]
    assert record.path is not None
    added = dfbench("leaderboard", "add", record.path.parent, "--to", tmp_path / "board", DFBENCH_DATA=str(data))
    assert added.code == 0, added.err
    assert dfbench("leaderboard", "build", "--board", tmp_path / "board").code == 0
    page = (tmp_path / "board/index.html").read_text()
    assert "report-exp4" in page
    assert "experiment 4" in page
