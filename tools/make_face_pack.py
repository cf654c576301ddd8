"""Make `dfbench/forge/pack/`: synthetic portraits of adults who do not exist, with landmarks.

Three steps, because their libraries do not share an environment:

    portraits OUT   needs `openvino opencv-python-headless` and `pip install --no-deps random-face==2021.7.21.1`
    landmarks OUT   needs `mediapipe==0.10.14` and opencv
    pack OUT        needs dfbench's own environment; writes into the checkout

`portraits` draws seeds 0..N-1 from MobileStyleGAN (Belousov 2021, arXiv:2104.04767), `landmarks` runs
MediaPipe Face Mesh (Kartynnik et al. 2019, arXiv:1907.06724), `pack` applies the filters below. `sheet OUT`
draws contact sheets with the seeds written on them: that is how `DROPPED` was found. docs/forge5.md is the
data card.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import sys
from pathlib import Path

import cv2
import numpy as np

CANDIDATES = 750
TRUNCATION = 0.7
SIDE = 256
JPEG_QUALITY = 95
MAX_YAW = 0.3  # |left cheek - right cheek| / face width, from the nose tip; 0 is frontal
PEOPLE = {"train": 240, "val": 50, "test": 80}

# Seeds dropped by eye from the contact sheets, by reason.
# fmt: off
DROPPED: dict[str, tuple[int, ...]] = {
    "could be under age": (
        4, 7, 11, 17, 20, 21, 24, 27, 37, 54, 61, 65, 66, 76, 77, 82, 84, 100, 116, 119, 120, 134,
        136, 140, 141, 150, 167, 168, 171, 182, 183, 191, 194, 199, 200, 201, 203, 205, 207, 214,
        215, 219, 220, 226, 227, 231, 238, 250, 255, 257, 266, 270, 271, 285, 286, 290, 292, 302,
        305, 308, 316, 324, 328, 329, 345, 347, 349, 354, 357, 360, 370, 375, 390, 393, 406, 408,
        409, 414, 419, 426, 429, 438, 445, 448, 450, 452, 462, 463, 469, 475, 476, 477, 480, 481,
        482, 484, 485, 493, 495, 505, 509, 511, 519, 520, 524, 526, 532, 540, 545, 555, 561, 572,
        573, 577, 578, 589, 593, 594, 600, 601, 603, 607, 611, 612, 615, 621, 626, 630, 640, 643,
        644, 646, 654, 655, 663, 675, 686, 692, 694, 698, 700, 715, 717, 719, 730, 733, 735, 741,
        745, 748, 749,
    ),
    "artefact or odd light on the face": (
        89, 144, 212, 237, 257, 342, 468, 737,
    ),
    "hand, hat or a second face near the face": (
        9, 14, 56, 64, 96, 184, 190, 198, 217, 222, 235, 245, 265, 334, 374, 388, 398, 401, 428,
        436, 437, 446, 483, 560, 570, 576, 605, 648, 651, 659, 722, 728, 734, 746,
    ),
    "dark glasses": (
        43, 63, 68, 106, 197, 474, 506, 549, 628, 684,
    ),
}
# fmt: on

# The Face Mesh landmarks that are kept: enough to move lids, lips, brows and jaw.
OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377)
OVAL += (152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
LIPS_OUTER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
LIPS_INNER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
EYE_A = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
EYE_B = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
BROW_A = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
BROW_B = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
FOLDS = (247, 30, 29, 27, 28, 56, 190, 467, 260, 259, 257, 258, 286, 414)  # skin above the lids
BAGS = (228, 229, 230, 231, 232, 448, 449, 450, 451, 452)  # skin below the lids
NOSE = (168, 6, 197, 195, 5, 4, 1, 2, 98, 327, 94, 48, 278, 64, 294, 115, 344, 220, 440)
CHEEKS = (50, 280, 101, 330, 205, 425, 187, 411, 207, 427, 116, 345, 36, 266, 123, 352, 147, 376, 213, 433)
FOREHEAD = (151, 9, 69, 299, 108, 337, 104, 333, 68, 298)
CHIN = (200, 199, 18, 83, 313, 208, 428, 171, 396, 202, 422)
GROUPS = {
    "oval": OVAL,
    "lips_outer": LIPS_OUTER,
    "lips_inner": LIPS_INNER,
    "eye_a": EYE_A,
    "eye_b": EYE_B,
    "brow_a": BROW_A,
    "brow_b": BROW_B,
    "folds": FOLDS,
    "bags": BAGS,
    "nose": NOSE,
    "cheeks": CHEEKS,
    "forehead": FOREHEAD,
    "chin": CHIN,
}
LANDMARKS = tuple(index for group in GROUPS.values() for index in group)
# Fixed points around the portrait, so that the background moves with the camera and not with the face.
ANCHORS = [(x, y) for x in (-80, 32, 128, 224, 336) for y in (-80, 32, 128, 224, 336) if {x, y} & {-80, 336}]


def portraits(out: Path, count: int) -> None:
    """Draw `count` portraits of 256 px as PNG; seed s always gives the same style vector."""
    import openvino

    package = importlib.util.find_spec("random_face")  # found, not imported: its code needs a long gone OpenVINO
    if package is None or package.origin is None:
        raise SystemExit("pip install --no-deps random-face==2021.7.21.1")
    data = Path(package.origin).parent / "data"
    core = openvino.Core()
    core.set_property("CPU", {"INFERENCE_NUM_THREADS": 1})
    mapping = core.compile_model(core.read_model(data / "MappingNetwork.xml"), "CPU")
    synthesis = core.compile_model(core.read_model(data / "SynthesisNetwork.xml"), "CPU")

    def style(seed: list[int]) -> np.ndarray:
        noise = np.random.default_rng(seed).standard_normal((1, 512)).astype(np.float32)
        return next(iter(mapping({"var": noise}).values()))

    mean = np.mean([style([1, i]) for i in range(2048)], axis=0)
    for seed in range(count):
        path = out / f"{seed:04d}.png"
        if path.exists():
            continue
        image = next(iter(synthesis({"style": mean + TRUNCATION * (style([0, seed]) - mean)}).values()))[0]
        image = np.clip((image.transpose(1, 2, 0) + 1) * 127.5 + 0.5, 0, 255).astype(np.uint8)
        cv2.imwrite(str(path), cv2.resize(image[:, :, ::-1], (SIDE, SIDE), interpolation=cv2.INTER_AREA))


def landmarks(out: Path) -> None:
    """Write `landmarks.npz`: seeds (N,), points (N, 468, 3) in pixels of the 256 px portrait."""
    import mediapipe

    seeds, points = [], []
    with mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=True, max_num_faces=2) as mesh:
        for path in sorted(out.glob("[0-9]*.png")):
            image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
            faces = mesh.process(cv2.resize(image, (512, 512), interpolation=cv2.INTER_CUBIC)).multi_face_landmarks
            if not faces or len(faces) != 1:
                print(f"{path.stem}: {len(faces or [])} faces", file=sys.stderr)
                continue
            seeds.append(int(path.stem))
            points.append([[p.x * SIDE, p.y * SIDE, p.z * SIDE] for p in faces[0].landmark])
    np.savez_compressed(out / "landmarks.npz", seeds=np.array(seeds), points=np.array(points, np.float32))


def sheet(out: Path, columns: int = 10, rows: int = 7) -> None:
    """Contact sheets of all candidates, `columns` x `rows` a page, each with its seed."""
    paths = sorted(out.glob("[0-9]*.png"))
    for page in range(0, len(paths), columns * rows):
        tiles = []
        for path in paths[page : page + columns * rows]:
            tile = cv2.resize(cv2.imread(str(path)), (150, 150), interpolation=cv2.INTER_AREA)
            cv2.putText(tile, path.stem, (3, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 3)
            cv2.putText(tile, path.stem, (3, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1)
            tiles.append(tile)
        tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
        lines = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
        cv2.imwrite(str(out / f"sheet{page // (columns * rows):02d}.png"), np.vstack(lines))


def pack(out: Path, target: Path) -> None:
    """Filter, split and write `portraits.parquet`, `mesh.json` and `provenance.json` to `target`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    stored = np.load(out / "landmarks.npz")
    bad = {seed for seeds in DROPPED.values() for seed in seeds}
    points = {int(s): p for s, p in zip(stored["seeds"], stored["points"], strict=True)}
    kept = [seed for seed in sorted(points) if seed not in bad and abs(yaw(points[seed])) <= MAX_YAW]
    wanted = sum(PEOPLE.values())
    print(f"{len(points)} with one face, {len(kept)} after the filters, {wanted} wanted")
    kept = sorted(np.random.default_rng(5).permutation(kept)[:wanted].tolist())
    splits = np.random.default_rng(6).permutation(np.repeat(list(PEOPLE), list(PEOPLE.values())))

    rows = []
    for seed, split in zip(kept, splits.tolist(), strict=True):
        image = cv2.imread(str(out / f"{seed:04d}.png"))
        jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
        marks = np.rint(points[seed][list(LANDMARKS)] * 64 + [0, 0, 32768])
        if marks.min() < 0 or marks.max() > 65535:
            raise SystemExit(f"seed {seed}: landmarks leave the portrait")
        rows.append(
            {
                "identity": f"face{seed:04d}",
                "split": split,
                "seed": seed,
                "jpeg": jpeg,
                "sha256": hashlib.sha256(jpeg).hexdigest(),
                "tone": np.rint(tone(image, points[seed])).astype(int).tolist(),
                "landmarks": marks.astype(np.uint16).ravel().tolist(),
            }
        )
    schema = pa.schema(
        [
            ("identity", pa.string()),
            ("split", pa.string()),
            ("seed", pa.int32()),
            ("jpeg", pa.binary()),
            ("sha256", pa.string()),
            ("tone", pa.list_(pa.uint8(), 3)),
            ("landmarks", pa.list_(pa.uint16(), 3 * len(LANDMARKS))),
        ]
    )
    target.mkdir(parents=True, exist_ok=True)
    path = target / "portraits.parquet"
    table = pa.Table.from_pylist(rows, schema)
    pq.write_table(table, path, compression={"landmarks": "zstd"}, use_dictionary=False)

    mean = np.mean([points[seed][list(LANDMARKS), :2] for seed in kept], axis=0)
    mesh = {
        "groups": {name: list(group) for name, group in GROUPS.items()},
        "anchors": ANCHORS,
        "triangles": triangles(np.vstack([mean, ANCHORS])),
    }
    (target / "mesh.json").write_text(json.dumps(mesh) + "\n")
    provenance = {
        "what": "synthetic portraits; none shows a person who exists, none is a photograph",
        "generator": "MobileStyleGAN (arXiv:2104.04767), weights from PyPI random-face 2021.7.21.1, Apache-2.0",
        "trained_on": "FFHQ (terms: non-commercial, CC BY-NC-SA 4.0)",
        "truncation": TRUNCATION,
        "candidates": CANDIDATES,
        "dropped_by_eye": {reason: list(seeds) for reason, seeds in DROPPED.items()},
        "max_yaw": MAX_YAW,
        "landmarks": "MediaPipe Face Mesh 0.10.14 (Apache-2.0)",
        "made_by": "tools/make_face_pack.py",
        "people": PEOPLE,
        "sha256": {
            name: hashlib.sha256((target / name).read_bytes()).hexdigest()
            for name in ("mesh.json", "portraits.parquet")
        },
    }
    (target / "provenance.json").write_text(json.dumps(provenance, indent=1) + "\n")
    print(f"{len(rows)} portraits, {path.stat().st_size / 1e6:.1f} MB")


def yaw(points: np.ndarray) -> float:
    """Asymmetry of the cheeks about the nose tip: 0 frontal, towards ±1 in profile."""
    left, nose, right = points[234, 0], points[1, 0], points[454, 0]
    return float(((nose - left) - (right - nose)) / (right - left))


def tone(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Mean colour of the face, R, G, B from 0 to 255, of a BGR portrait."""
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(points[list(OVAL), :2]).astype(np.int32)), 255)
    return np.array(cv2.mean(image, mask)[2::-1])


def triangles(mean: np.ndarray) -> list[list[int]]:
    """Delaunay triangles over the mean face and the anchors, rows of three indices into LANDMARKS + ANCHORS."""
    from scipy.spatial import Delaunay

    return [sorted(map(int, triangle)) for triangle in Delaunay(mean).simplices]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["portraits", "landmarks", "sheet", "pack"])
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.step == "portraits":
        portraits(args.out, CANDIDATES)
    elif args.step == "landmarks":
        landmarks(args.out)
    elif args.step == "sheet":
        sheet(args.out)
    else:
        pack(args.out, Path(__file__).parents[1] / "dfbench" / "forge" / "pack")


if __name__ == "__main__":
    main()
