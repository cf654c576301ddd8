"""Where runs lie: found by what was asked, moved whole, checked when they come from elsewhere."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from filelock import FileLock

from dfbench.errors import DataError, DfbenchError
from dfbench.plugins import registry
from dfbench.records.record import Record
from dfbench.runs.code import code_of
from dfbench.runs.prepare import Request
from dfbench.runs.runner import run
from dfbench.runs.storage import RunFolder
from dfbench.runs.sweep.folders import Folders, check, pack, unpack
from dfbench.runs.sweep.plan import Job


@pytest.fixture(scope="module")
def made(tiny_stream: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    out = tmp_path_factory.mktemp("made")
    request = Request("simple_cnn", "naive", str(tiny_stream), settings=["epochs=1"], device="cpu", out=out)
    path = run(request, registry()).path
    assert path is not None
    return path.parent


@pytest.fixture
def job(made: Path) -> Job:
    spec = Record.read(made).spec
    return Job(spec.asked, "a run", (), spec, code_of(spec.detector, spec.strategy, registry()))


def copied(made: Path, to: Path) -> Path:
    return unpack(pack(made)[0], to)


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != ".lock"}


def test_a_packed_run_is_the_same_run_elsewhere(made: Path, job: Job, tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    there = folders.unpack(*pack(made), job)
    assert there == tmp_path / made.name
    assert contents(there) == contents(made)
    assert folders.state({job.key: job})[job.key].finished
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == [made.name]


def test_a_run_is_found_by_what_was_asked_whatever_building_said(made: Path, job: Job, tmp_path: Path) -> None:
    """``initial_weights`` is known only once a network is built: it is no part of the key, and one of the identity."""
    spec = job.spec.model_copy(update={"initial_weights": {"pretrained": False}})
    assert spec.identity != job.spec.identity
    assert spec.asked == job.key
    assert spec.model_copy(update={"seed": 5}).asked != job.key
    assert spec.model_copy(update={"split": "val"}).asked != job.key


def test_a_run_that_is_whole_out_of_sight_is_moved_to_its_place_once_nobody_works_in_it(
    made: Path, job: Job, tmp_path: Path
) -> None:
    folders = Folders(tmp_path)
    folder = copied(made, folders.work)
    with FileLock(folder / ".lock"):
        assert folders.settle({job.key: job})[job.key].path == folder
    found = folders.settle({job.key: job})[job.key]
    assert (found.path, found.finished) == (tmp_path / made.name, True)
    assert not folder.exists()


def test_what_is_begun_goes_on_where_it_is(made: Path, job: Job, tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    assert folders.place(job, None) == folders.work
    (copied(made, tmp_path) / "record.json").unlink()
    found = folders.state({job.key: job})[job.key]
    assert not found.finished
    assert folders.place(job, found) == tmp_path


def test_what_other_code_has_made_is_not_done_and_is_set_aside(made: Path, job: Job, tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    old = copied(made, tmp_path)
    code = json.loads((old / "code.json").read_text())
    (old / "code.json").write_text(json.dumps({name: f"{text[:-8]}00000000" for name, text in code.items()}))
    assert not folders.state({job.key: job})[job.key].finished
    folders.unpack(*pack(made), job)
    assert folders.state({job.key: job})[job.key].finished
    assert len(list((tmp_path / ".set_aside").iterdir())) == 1


def test_the_records_of_other_runs_are_never_read(made: Path, job: Job, tmp_path: Path) -> None:
    other = copied(made, tmp_path)
    spec = job.spec.model_copy(update={"seed": 9})
    (other / "spec.json").write_text(json.dumps(spec.document()))
    (other / "record.json").write_text("damaged")
    assert Folders(tmp_path).state({job.key: job}) == {}


def test_what_comes_damaged_or_is_another_run_is_refused_and_leaves_nothing(
    made: Path, job: Job, tmp_path: Path
) -> None:
    folders, (archive, digest) = Folders(tmp_path), pack(made)
    with pytest.raises(DataError, match="damaged on the way"):
        folders.unpack(archive[:-1], digest, job)
    weights = tmp_path / "weights"
    (copied(made, weights) / "model.safetensors").write_bytes(b"other")
    with pytest.raises(DataError, match="its weights are damaged"):
        folders.unpack(*pack(weights / made.name), job)
    elsewhere = Job("0" * 64, "another", (), job.spec.model_copy(update={"data_fingerprint": "a" * 64}), job.code)
    with pytest.raises(DataError, match="it has other data there than here"):
        folders.unpack(archive, digest, elsewhere)
    stranger = Job(job.key, "a run", (), job.spec, dict.fromkeys(job.code, f"1 sha256:{'0' * 64}"))
    with pytest.raises(DataError, match="has other sources there: install the same version everywhere"):
        folders.unpack(archive, digest, stranger)
    assert not (tmp_path / made.name).exists()
    check(made, job)


@pytest.mark.parametrize("name", ["../x", "/etc/x", "run/../../x", "x", "run/a/../../../x"])
def test_an_archive_cannot_write_elsewhere(name: str, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    with pytest.raises(DataError, match="no file of a run"):
        unpack(buffer.getvalue(), tmp_path / "in")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_an_archive_holds_files_alone(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("run/link")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(DataError, match="no file of a run"):
        unpack(buffer.getvalue(), tmp_path)
    with pytest.raises(DataError, match="its archive is damaged"):
        unpack(b"nothing", tmp_path)


def test_one_sweep_at_a_time_writes_to_a_folder(tmp_path: Path) -> None:
    with Folders(tmp_path).lock(), pytest.raises(DfbenchError, match="another dfbench sweep writes to"):
        Folders(tmp_path).lock()
    Folders(tmp_path).lock().release()


def test_the_folder_of_a_run_is_the_one_that_eval_makes(made: Path, job: Job) -> None:
    assert RunFolder(made.parent, job.spec, job.code).path == made
