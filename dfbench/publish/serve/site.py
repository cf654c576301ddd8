"""The pages: static files of the package alone, and the leaderboard's page where there is one."""

from __future__ import annotations

import hashlib
import mimetypes
import re
from importlib import resources
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from dfbench.publish.serve.problems import Problem

_HERE = "dfbench.publish.serve"
_PART = re.compile(r"[a-z0-9-]+/[a-z0-9]+\.js")
_META = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]+)">')


def router(leaderboard: Path | None) -> APIRouter:
    """The routes of the site, which no API document names."""
    routes = APIRouter(include_in_schema=False)
    files = _files()
    page = files["index.html"][0].decode()
    if leaderboard is not None:
        page = page.replace("<!--leaderboard-->", '<a href="/leaderboard/" data-t="nav.leaderboard">Leaderboard</a>')

    @routes.get("/")
    @routes.get("/r/{job}")
    def index(job: str = "") -> HTMLResponse:
        return HTMLResponse(page, headers={"X-Robots-Tag": "noindex"} if job else None)

    @routes.get("/static/{name:path}")
    def static(name: str, request: Request) -> Response:
        if name not in files:
            raise Problem(404, "not_found", "there is no such file")
        content, kind, tag = files[name]
        headers = {"ETag": tag, "Cache-Control": "public, max-age=300"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=kind, headers=headers)

    @routes.get("/robots.txt")
    def robots() -> PlainTextResponse:
        return PlainTextResponse("User-agent: *\nDisallow: /r/\nDisallow: /api/\n")

    if leaderboard is not None:
        board = leaderboard.read_text(encoding="utf-8")
        # The page names its one script and its one style sheet by hash; the same policy as a header lets them pass.
        stated = _META.search(board)
        policy = (stated[1].replace("&#39;", "'") if stated else "default-src 'none'") + "; frame-ancestors 'none'"

        @routes.get("/leaderboard")
        def leaderboard_folder() -> RedirectResponse:
            return RedirectResponse("leaderboard/", status_code=308)

        @routes.get("/leaderboard/")
        def leaderboard_page() -> HTMLResponse:
            return HTMLResponse(board, headers={"Content-Security-Policy": policy, "Cache-Control": "max-age=300"})

        @routes.get("/leaderboard/data/{table}/{name}")
        def leaderboard_part(table: str, name: str) -> Response:
            part = leaderboard.parent / "data" / table / name
            if not _PART.fullmatch(f"{table}/{name}") or not part.is_file():
                raise Problem(404, "not_found", "there is no such file")
            return Response(part.read_bytes(), media_type="text/javascript", headers={"Cache-Control": "max-age=300"})

    return routes


def _files() -> dict[str, tuple[bytes, str, str]]:
    """Name → content, media type and tag of every file of the front end, and of the leaderboard's base style."""
    found = {}
    root = resources.files(_HERE).joinpath("assets")
    for folder in (root, root.joinpath("examples")):
        for each in folder.iterdir():
            if each.is_file():
                prefix = "examples/" if folder is not root else ""
                found[prefix + each.name] = each.read_bytes()
    found["base.css"] = resources.files("dfbench.publish.board").joinpath("assets", "base.css").read_bytes()
    result = {}
    for name, content in found.items():
        kind = (
            "text/javascript" if name.endswith(".js") else mimetypes.guess_type(name)[0] or "application/octet-stream"
        )
        result[name] = (content, kind, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
    return result
