"""From files to verdicts, with the checkpoint that ships and faces of the embedded pack."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dfbench.data.prepare.faces import Centre
from dfbench.forge import pack, render
from dfbench.plugins import Registry
from dfbench.publish.predict.judgement import Judgement
from dfbench.publish.predict.looking import Options, look
from dfbench.publish.predict.page import page
from dfbench.publish.predict.run import Judge, document, judge_all, pixels_of
from dfbench.publish.predict.verdict import together
from dfbench.publish.zoo.entry import read_entry, write_entry
from dfbench.publish.zoo.resolve import resolve
from tests.data.prepare.films import face, moving, scene, write_video

ZOO = Path(__file__).parents[3] / "zoo"
NAME = "simple_cnn-replay-forge5"


@pytest.fixture(scope="module")
def laboratory(known: Registry) -> Judge:
    return Judge(resolve(NAME, known), known, Centre(None, "cpu"), "cpu")


@pytest.fixture(scope="module")
def trusted(known: Registry, tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """The same network, as if it had been trained on deepfakes: its test pictures are then the world that it knows."""
    folder = tmp_path_factory.mktemp("zoo")
    shutil.copytree(ZOO / "weights", folder / "weights")
    entry = read_entry(ZOO / f"{NAME}.yaml")
    write_entry(
        entry.model_copy(update={"training": entry.training.model_copy(update={"scope": "deepfakes"})}),
        folder / "trusted.yaml",
    )
    return Judge(resolve(str(folder / "trusted.yaml"), known), known, Centre(None, "cpu"), "cpu")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, int]:
    """Pictures of twelve test people under one family, uncropped as they were scored → label."""
    folder = tmp_path_factory.mktemp("pictures")
    found = {}
    for person in pack.identities("test")[:12]:
        for row, pixels in render.render(person, "face_swap", (2,)):
            path = folder / f"{person}-{row['label']}.png"
            Image.fromarray(pixels).save(path)
            found[path] = int(row["label"])
    return found


def test_a_laboratory_model_calls_nobody_real_or_fake(laboratory: Judge, pictures: dict[Path, int]) -> None:
    answers = list(judge_all(laboratory, list(pictures), Options()))
    assert {answer.judgement.verdict for answer in answers} == {"inconclusive"}
    assert all("demonstration" in answer.judgement.reason for answer in answers)
    assert all(answer.judgement.probability is not None for answer in answers)


def test_a_model_of_deepfakes_says_what_it_can_and_is_seldom_wrong(trusted: Judge, pictures: dict[Path, int]) -> None:
    said = {path: trusted.judge(path, Options()).judgement.verdict for path in pictures}
    right = {0: "likely real", 1: "likely fake"}
    wrong = {0: "likely fake", 1: "likely real"}
    assert sum(said[path] == right[label] for path, label in pictures.items()) >= 8
    assert sum(said[path] == wrong[label] for path, label in pictures.items()) <= 2
    assert "inconclusive" in said.values()


def test_scores_are_those_of_the_checkpoint_on_whole_pictures(trusted: Judge, pictures: dict[Path, int]) -> None:
    path = next(iter(pictures))
    (judged,) = trusted.judge(path, Options()).faces
    pixels = np.asarray(Image.open(path))
    assert judged.scores[0] == pytest.approx(trusted.predictor.predict(pixels), abs=1e-6)


def test_noise_is_unlike_the_training_data(trusted: Judge, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    said = trusted.judge(tmp_path / "noise.png", Options()).judgement
    assert (said.verdict, said.strange) == ("inconclusive", 1.0)
    assert "unlike" in said.reason


def test_a_small_face_is_not_judged(trusted: Judge, tmp_path: Path) -> None:
    Image.fromarray(face(0, 24)).save(tmp_path / "small.png")
    said = trusted.judge(tmp_path / "small.png", Options()).judgement
    assert said.verdict == "inconclusive"
    assert "24 pixels" in said.reason


def test_a_video_has_a_time_line(laboratory: Judge, tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mp4", moving(0, 50))
    answer = laboratory.judge(film, Options(frames=10))
    (judged,) = answer.faces
    assert [look.frames[0] for look in judged.face.looks] == [2, 7, 12, 17, 22, 27, 32, 37, 42, 47]
    assert [look.seconds for look in judged.face.looks] == pytest.approx([n / 25 for n in range(2, 50, 5)])
    assert len(judged.scores) == 10
    assert answer.judgement.score == pytest.approx(judged.scores.mean())


def test_times_are_those_of_the_frames_where_the_rate_varies(laboratory: Judge, tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mp4", moving(0, 4), times=[0, 40, 500, 2000])
    (judged,) = laboratory.judge(film, Options()).faces
    assert [look.seconds for look in judged.face.looks] == pytest.approx([0, 0.04, 0.5, 2.0], abs=0.002)


def test_every_face_of_a_picture_is_judged(known: Registry, tmp_path: Path) -> None:
    from dfbench.data.prepare.faces import Mtcnn

    pytest.importorskip("facenet_pytorch")
    judge = Judge(resolve(NAME, known), known, Mtcnn(None, "cpu"), "cpu")
    frame = scene((face(0, 110), 10, 15), (face(1, 110), 150, 20), size=(280, 144))
    Image.fromarray(frame).save(tmp_path / "two.png")
    answer = judge.judge(tmp_path / "two.png", Options())
    assert len(answer.faces) == 2
    lefts = sorted(judged.face.looks[0].where.x for judged in answer.faces)
    assert lefts[0] < 60 < 120 < lefts[1]
    Image.fromarray(np.full((144, 192, 3), 128, np.uint8)).save(tmp_path / "none.png")
    assert judge.judge(tmp_path / "none.png", Options()).judgement.verdict == "no face found"


def test_a_bad_file_is_an_answer_and_the_others_go_on(laboratory: Judge, tmp_path: Path, pictures) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"not a picture")
    good = next(iter(pictures))
    bad, fine = judge_all(laboratory, [tmp_path / "bad.jpg", good], Options())
    assert (bad.judgement.verdict, bad.error) == ("not supported", bad.judgement.reason)
    assert str(tmp_path) not in bad.error
    assert fine.faces


def test_a_face_detector_that_chokes_on_one_file_does_not_end_the_others(known: Registry, pictures) -> None:
    class Choking(Centre):
        def detect(self, frames: np.ndarray) -> list[np.ndarray]:
            if not frames.any():
                raise RuntimeError("zero frames")
            return super().detect(frames)

    first, second = list(pictures)[:2]
    black = first.with_name("black.png")
    Image.fromarray(np.zeros((112, 112, 3), np.uint8)).save(black)
    judge = Judge(resolve(NAME, known), known, Choking(None, "cpu"), "cpu")
    bad, fine = judge_all(judge, [black, second], Options())
    assert bad.error == "unexpected RuntimeError: zero frames"
    assert fine.faces


def test_one_fake_face_makes_a_file_fake_and_doubt_outweighs_real() -> None:
    real, fake, unsure = Judgement("likely real"), Judgement("likely fake"), Judgement("inconclusive", "a reason")
    assert together([real, fake, unsure], 1) is fake
    assert together([real, unsure], 1) is unsure
    assert together([real, real], 1) is real
    assert together([], 5).reason == "no face was found in 5 frames"


def test_the_document_and_the_page_hold_every_figure(trusted: Judge, tmp_path: Path) -> None:
    film = write_video(tmp_path / "<b>film & co</b>.mp4".replace("/", ""), moving(0, 20))
    answer = trusted.judge(film, Options(frames=5))
    written = document(answer)
    assert len(written["faces"][0]["looks"]) == 5
    assert written["media"]["frames"] == 20
    html = page(trusted.entry, [answer])
    assert "<b>film" not in html
    assert html.count("<circle") == 5
    assert "http" not in html.replace("http-equiv", "")


def test_looking_and_scoring_are_steps_of_their_own(trusted: Judge, pictures: dict[Path, int]) -> None:
    """A service looks in one process and scores the faces of several files together in another."""
    first, second = list(pictures)[:2]
    seen = [look(path, trusted.recipe, trusted.faces, Options()) for path in (first, second)]
    scores = trusted.score([pixels for each in seen for pixels in pixels_of(each)])
    for number, path in enumerate((first, second)):
        whole, stepped = (
            trusted.judge(path, Options()),
            trusted.answer(path, seen[number], scores.part(number, number + 1)),
        )
        assert stepped.judgement.verdict == whole.judgement.verdict
        assert stepped.judgement.score == pytest.approx(whole.judgement.score, abs=1e-6)


def test_a_reason_has_a_code_and_its_figures(trusted: Judge, laboratory: Judge, tmp_path: Path) -> None:
    Image.fromarray(face(0, 24)).save(tmp_path / "small.png")
    (tmp_path / "bad.jpg").write_bytes(b"not a picture")
    (tmp_path / "list.mp4").write_bytes(b"#EXTM3U\n")
    small, listed, bad = (document(trusted.judge(path, Options())) for path in sorted(tmp_path.iterdir(), reverse=True))
    assert (small["code"], small["values"]) == ("small_face", {"side": 24, "needed": 32})
    assert [listed["code"], bad["code"]] == ["playlist", "damaged"]
    demonstration = laboratory.judge(tmp_path / "small.png", Options()).judgement
    assert (demonstration.code, demonstration.values["trained_on"]) == ("laboratory", "forge5")


def test_looking_needs_no_torch() -> None:
    """The processes in which a service decodes strangers' files hold as little as possible."""
    program = "import sys, dfbench.publish.predict.looking; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
