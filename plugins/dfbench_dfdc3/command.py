"""``dfbench dfdc3``."""

from __future__ import annotations

from pathlib import Path

import click

EXAMPLE = "\b\nExamples:\n  dfbench dfdc3 convert a.pth b.pth c.pth --to dfdc3.safetensors"


@click.group("dfdc3", epilog=EXAMPLE)
def command() -> None:
    """Commands of the detector dfdc3."""


@command.command("convert", epilog=EXAMPLE)
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.argument("c", type=click.Path(path_type=Path))
@click.option("--to", default=Path("dfdc3.safetensors"), show_default=True, type=click.Path(path_type=Path))
@click.option("--body", help="EfficientNet of timm, where it is not the published B7.")
def convert(a: Path, b: Path, c: Path, to: Path, body: str | None) -> None:
    """Convert the published snapshots of networks A, B and C to one checkpoint.

    A, B, C: the files that you have downloaded, snapshot_100000.fp16.pth of each network. Use the result with
    `dfbench eval --detector dfdc3 --preset paper --set weights=FILE`.
    """
    from dfbench_dfdc3.snapshots import ORIGINAL_BODY, convert_files

    digest = convert_files(a, b, c, to, body or ORIGINAL_BODY)
    click.echo(f"checkpoint: {to}")
    click.echo(f"sha256: {digest}")
