"""Readers of public data sets' trees: one file each, and the list of them.

Where to start: :mod:`contract` says what a reader is, :mod:`ffpp` is a typical one. A plugin registers its own.
"""

from __future__ import annotations

_HERE = "dfbench.data.prepare.sources"

DATA_SETS: dict[str, str] = {
    "videos": f"{_HERE}.videos:Videos",
    "ffpp": f"{_HERE}.ffpp:FaceForensics",
    "dfd": f"{_HERE}.dfd:DeepFakeDetection",
    "celeb-df-v1": f"{_HERE}.celeb_df:CelebDFv1",
    "celeb-df-v2": f"{_HERE}.celeb_df:CelebDFv2",
    "dfdc": f"{_HERE}.dfdc:Dfdc",
    "dfdc-preview": f"{_HERE}.dfdc_preview:DfdcPreview",
    "wild-deepfake": f"{_HERE}.wild_deepfake:WildDeepfake",
    "df40": f"{_HERE}.df40:Df40",
    "deeper-forensics": f"{_HERE}.deeper_forensics:DeeperForensics",
    "fakeavceleb": f"{_HERE}.fakeavceleb:FakeAVCeleb",
    "ffiw": f"{_HERE}.ffiw:Ffiw",
    "kodf": f"{_HERE}.kodf:KoDF",
    "cddb": f"{_HERE}.cddb:Cddb",
    "deepfakebench": f"{_HERE}.deepfakebench:DeepfakeBench",
    "genimage": f"{_HERE}.genimage:GenImage",
}
"""Name of a data set of dfbench's own → ``"package.module:Name"`` of its reader, a class without arguments."""
