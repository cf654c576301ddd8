"""The documentation as a site: ``python -m tools.site`` (``make site``).

The Markdown of ``docs/`` is written for a code host, where relative links lead to other files. Here it is laid out for
Sphinx: pages in sections, links to files outside of the site as text, the API from the docstrings, the leaderboard next
to it. Then Sphinx builds it with every warning as an error, and every link of the result is followed, anchors too.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from dfbench.documents import read_yaml
from tools.tables import first_result

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
OWN = DOCS / "site"
PROJECT = {"changelog": ROOT / "CHANGELOG.md", "contributing": ROOT / "CONTRIBUTING.md"}
"""Pages that lie elsewhere in the repository."""
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")
PICTURE = re.compile(
    r'<picture>\s*<source media="\(prefers-color-scheme: dark\)" srcset="([^"]+)">\s*'
    r'<img src="([^"]+)" alt="([^"]*)">\s*</picture>'
)
FENCE = re.compile(r"^(```|~~~).*?^\1[ \t]*$", re.MULTILINE | re.DOTALL)
COG = re.compile(r"^<!-- \[\[\[(?:cog.*?\]\]\]|end\]\]\]) -->\n?", re.MULTILINE)


def sections() -> list[dict[str, Any]]:
    """Those of ``nav.yaml``."""
    found: list[dict[str, Any]] = read_yaml(OWN / "nav.yaml")
    return found


def lay_out(folder: Path) -> None:
    """Write the sources of the site to an empty folder.

    Raises:
        SystemExit: A page or a public name is in no section, or in one and does not exist.
    """
    listed = [page for section in sections() for page in section["pages"]]
    there = {path.stem for path in DOCS.glob("*.md")} | set(PROJECT) | {"api"}
    if wrong := there.symmetric_difference(listed):
        sys.exit(f"docs/site/nav.yaml and docs/ differ: {', '.join(sorted(wrong))}")
    folder.mkdir(parents=True)
    for name in listed:
        if name != "api":
            path = PROJECT.get(name, DOCS / f"{name}.md")
            (folder / f"{name}.md").write_text(page(path, folder), encoding="utf-8")
    shutil.copytree(DOCS / "img", folder / "img")
    for section in sections():
        (folder / f"{section['section']}.md").write_text(_section(section, folder), encoding="utf-8")
    _api(folder)
    (folder / "index.md").write_text(_index(), encoding="utf-8")
    static = folder / "_static"
    static.mkdir()
    for name in ("site.css", "favicon.svg"):
        shutil.copy(OWN / name, static)
    (folder / "_templates").mkdir()
    shutil.copy(OWN / "leaderboard-link.html", folder / "_templates")
    shutil.copy(OWN / "conf.py", folder)
    _leaderboard(folder / "_extra" / "leaderboard")


def page(path: Path, folder: Path) -> str:
    """A page of the repository as the site has it."""
    text = COG.sub("", path.read_text(encoding="utf-8"))
    text = PICTURE.sub(lambda m: _both(m[1], m[2], m[3]), text)
    kept: list[str] = []

    def hide(found: re.Match[str]) -> str:
        kept.append(found[0])
        return f"\0{len(kept) - 1}\0"

    text = re.sub(r"`[^`\n]+`(?!\])", hide, FENCE.sub(hide, text))
    text = LINK.sub(lambda m: _link(m, path, folder), text)
    while "\0" in text:
        text = re.sub(r"\0(\d+)\0", lambda m: kept[int(m[1])], text)
    return text


def _both(dark: str, light: str, alt: str) -> str:
    """A picture by day and by night, whichever the reader chose on the site."""
    pair = (("light", light), ("dark", dark))
    return "\n\n".join(f"```{{image}} {file}\n:alt: {alt}\n:class: only-{name}\n```" for name, file in pair)


def _link(found: re.Match[str], path: Path, folder: Path) -> str:
    """A link of the repository as the site has it; to a file that the site does not have, the text alone."""
    mark, text, target = found.groups()
    name, hash_, anchor = target.partition("#")
    if "://" in target or target.startswith("mailto:") or not name:
        return found[0]
    where = (path.parent / name).resolve()
    if not where.is_relative_to(ROOT) or not where.exists():
        sys.exit(f"{path.relative_to(ROOT)}: the link {target} leads nowhere")
    if where in (ROOT / "leaderboard" / "README.md", ROOT / "leaderboard", ROOT / "leaderboard" / "index.html"):
        return f'<a href="leaderboard/index.html">{html.escape(text.replace("`", ""))}</a>'
    if text in (target, where.name) and where.suffix == ".md":  # on a code host the file's name, here the page's
        text = title(where.read_text(encoding="utf-8"))
    if where == ROOT / "README.md":
        return f"[{text}](index.md)"
    if where.is_relative_to(DOCS / "img"):
        return f"{mark}[{text}](img/{where.name})"
    for page_, place in PROJECT.items():
        if where == place:
            return f"[{text}]({page_}.md{hash_}{anchor})"
    if where.parent == DOCS and where.suffix == ".md":
        return f"[{text}]({where.name}{hash_}{anchor})"
    if where.is_file() and where.suffix in (".json", ".yaml") and where.is_relative_to(DOCS):
        (folder / "_extra" / "files").mkdir(parents=True, exist_ok=True)
        shutil.copy(where, folder / "_extra" / "files")
        return f'<a href="files/{where.name}">{html.escape(text.replace("`", ""))}</a>'
    return text if "`" in text else f"{text} (`{where.relative_to(ROOT)}`)"


def title(text: str) -> str:
    """The heading of a page."""
    found = re.search(r"^# (.+)$", text, re.MULTILINE)
    assert found is not None
    return found[1]


def _section(section: dict[str, Any], folder: Path) -> str:
    lines = [f"# {section['title']}\n", f"{section['about']}\n", "::::{grid} 1 2 2 2\n:gutter: 3\n"]
    for name, about in section["pages"].items():
        head = "API" if name == "api" else title((folder / f"{name}.md").read_text(encoding="utf-8"))
        place = "api/index" if name == "api" else name
        lines.append(f":::{{grid-item-card}} {head}\n:link: {place}\n:link-type: doc\n\n{about}\n:::\n")
    pages = ["api/index" if name == "api" else name for name in section["pages"]]
    return "\n".join([*lines, "::::\n", _toctree(pages)])


def _index() -> str:
    cards = [
        f":::{{grid-item-card}} {each['title']}\n:link: {each['section']}\n:link-type: doc\n\n{each['about']}\n:::\n"
        for each in sections()
    ]
    text = (OWN / "index.md").read_text(encoding="utf-8")
    grid = "\n".join(["::::{grid} 1 2 2 2\n:gutter: 3\n", *cards, "::::"])
    return (
        text.replace("RESULT", first_result().strip()).replace("SECTIONS", grid)
        + "\n"
        + _toctree([each["section"] for each in sections()])
    )


def _toctree(pages: list[str]) -> str:
    return "\n".join(["```{toctree}", ":hidden:", ":maxdepth: 2", "", *pages, "```", ""])


def _api(folder: Path) -> None:
    """A page for each group of public names."""
    import importlib
    import inspect

    groups: list[dict[str, Any]] = read_yaml(OWN / "api.yaml")
    for module in ("dfbench", "dfbench.testing"):
        public = {n for n in importlib.import_module(module).__all__ if not n.startswith("_")}
        listed = [n for g in groups if g.get("module", "dfbench") == module for n in g["names"]]
        if wrong := public.symmetric_difference(listed):
            sys.exit(f"docs/site/api.yaml: {module}: {', '.join(sorted(wrong))}")
    (folder / "api").mkdir()
    for group in groups:
        module = group.get("module", "dfbench")
        lines = [f"# {group['title']}\n", "```{eval-rst}", f".. currentmodule:: {module}", ""]
        for name in group["names"]:
            value = getattr(importlib.import_module(module), name)
            kind = "autoclass" if inspect.isclass(value) else "autofunction" if callable(value) else "autodata"
            lines += [f".. {kind}:: {module}.{name}", ""]
        (folder / "api" / f"{group['page']}.md").write_text("\n".join([*lines, "```", ""]), encoding="utf-8")
    lines = ["# API\n", "Names that are not here are no promise: they change without notice.\n"]
    for group in groups:
        names = ", ".join(f"`{name}`" for name in group["names"])
        lines.append(f"- [{group['title']}]({group['page']}.md): {names}")
    pages = [group["page"] for group in groups]
    (folder / "api" / "index.md").write_text("\n".join([*lines, "", _toctree(pages)]), encoding="utf-8")


def _leaderboard(folder: Path) -> None:
    """The board with its records, its links leading to the pages of the site."""
    source = ROOT / "leaderboard"
    for name in ("data", "results"):
        shutil.copytree(source / name, folder / name)
    text = (source / "index.html").read_text(encoding="utf-8")
    text = re.sub(r'href="\.\./docs/([a-z0-9-]+)\.md(#[^"]*)?"', r'href="../\1.html\2"', text)
    text = text.replace('href="../README.md"', 'href="../index.html"').replace(
        'href="results/"', 'href="../leaderboard.html"'
    )
    shutil.copy(ROOT / "LICENSE", folder / "LICENSE.txt")
    (folder / "index.html").write_text(text.replace('href="../LICENSE"', 'href="LICENSE.txt"'), encoding="utf-8")


class _Seen(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.anchors |= {value for name in ("id", "name") if (value := found.get(name))}
        self.links += [value for name in ("href", "src") if (value := found.get(name)) and tag != "base"]


def broken(site: Path) -> list[str]:
    """``PAGE: LINK`` of each link of the built site that leads nowhere, in it."""
    pages = {}
    for path in sorted(site.rglob("*.html")):
        pages[path] = _Seen()
        pages[path].feed(path.read_text(encoding="utf-8"))
    wrong = []
    for path, seen in pages.items():
        for link in seen.links:
            name, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:|//", link) or "?" in name or link == "#":
                continue
            base = site if name.startswith("/") else path.parent
            target = (base / unquote(name).lstrip("/")).resolve() if name else path
            target = target / "index.html" if target.is_dir() else target
            known = pages.get(target)
            script = anchor.startswith(("row=", "tab="))  # a view of the leaderboard
            if not target.exists() or (anchor and known and not script and unquote(anchor) not in known.anchors):
                wrong.append(f"{path.relative_to(site)}: {link}")
    return wrong


def build(out: Path, version: str = "") -> int:
    """Build the site from nothing, with a switch of versions if it has one; the exit code."""
    from sphinx.cmd.build import build_main

    shutil.rmtree(out, ignore_errors=True)
    sources, site = out / "sources", out / "html"
    lay_out(sources)
    switch = {"json_url": "../versions.json", "version_match": version} if version else {}
    (sources / "version.json").write_text(json.dumps(switch), encoding="utf-8")
    # In this process: dfbench is imported for the API, and torch with it takes as long as all pages.
    if code := build_main(["-b", "html", "-W", "-q", "-d", str(out / "doctrees"), str(sources), str(site)]):
        return code
    wrong = broken(site)
    for line in wrong:
        print(f"leads nowhere: {line}", file=sys.stderr)
    print(site / "index.html")
    return int(bool(wrong))


def publish(site: Path, version: str, folder: Path, url: str) -> None:
    """Put a built site next to the other versions of a folder that is served.

    Args:
        site: The pages, built with this version.
        version: Such as ``1.2``; others, such as ``dev``, come last. What was there under this name is replaced.
        folder: It gets ``VERSION/``, ``versions.json`` for the switch, and an ``index.html`` that leads to the newest.
        url: What the folder is served as, ``/`` or ``https://HOST/PATH/``.
    """
    shutil.rmtree(folder / version, ignore_errors=True)
    shutil.copytree(site, folder / version)
    versions = sorted((path.parent.name for path in folder.glob("*/objects.inv")), key=_newness, reverse=True)
    listed = [{"version": name, "url": f"{url.rstrip('/')}/{name}/"} for name in versions]
    newest = {**listed[0], "preferred": True, "name": f"{versions[0]} (newest)"}
    (folder / "versions.json").write_text(json.dumps([newest, *listed[1:]], indent=1) + "\n", encoding="utf-8")
    (folder / "index.html").write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>dfbench</title>'
        f'<meta http-equiv="refresh" content="0; url={versions[0]}/index.html">'
        f'<a href="{versions[0]}/index.html">dfbench {versions[0]}</a></html>\n',
        encoding="utf-8",
    )


def _newness(version: str) -> tuple[bool, list[int], str]:
    number = re.fullmatch(r"\d+(\.\d+)*", version)
    return number is not None, [int(part) for part in version.split(".")] if number else [], version


def main() -> None:
    """Build it, and end with 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "site", help="an empty folder, or a former site")
    parser.add_argument("--version", default="", help="gives the pages a switch of versions, such as 1.2")
    parser.add_argument("--publish", type=Path, help="a folder of all versions, which gets this one too")
    parser.add_argument("--url", default="/", help="what that folder is served as (default: /)")
    given = parser.parse_args()
    if given.publish and not re.fullmatch(r"[\w.-]+", given.version):
        parser.error("--publish needs --version, of letters, digits, dots and hyphens")
    code = build(given.out, given.version)
    if given.publish and not code:
        publish(given.out / "html", given.version, given.publish, given.url)
        print(given.publish / "index.html")
    sys.exit(code)


if __name__ == "__main__":
    main()
