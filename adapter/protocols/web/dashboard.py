"""The dashboard: files for a browser, served as they are (docs/dashboard.md).

No build step and no outside address: what a page needs is in `static/`, and the policy that goes
with it lets the browser fetch nothing else. The files are read once; a name that is not among them
is no file.
"""

import hashlib
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from litestar import Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from adapter.protocols.web.roles import OPEN

STATIC = Path(__file__).parent / "static"
MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    media_type: str
    etag: str


def _read(path: Path) -> _File:
    content = path.read_bytes()
    digest = hashlib.blake2b(content, digest_size=12).hexdigest()
    return _File(content, MEDIA_TYPES[path.suffix], f'"{digest}"')


_FILES = {path.name: _read(path) for path in sorted(STATIC.iterdir())}


def _answer(request: Request[Any, Any, Any], name: str) -> Response[bytes]:
    file = _FILES.get(name)
    if file is None:
        raise NotFoundException(f"no file {name[:64]!r}")
    same = request.headers.get("if-none-match") == file.etag
    return Response(
        b"" if same else file.content,
        status_code=HTTPStatus.NOT_MODIFIED if same else HTTPStatus.OK,
        media_type=file.media_type,
        headers={**HEADERS, "ETag": file.etag},
    )


@get("/", opt=OPEN, summary="Dashboard", include_in_schema=False)
async def page(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Return the page; everything else it asks for itself."""
    return _answer(request, "index.html")


@get("/static/{name:str}", opt=OPEN, include_in_schema=False)
async def static(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
    """Return a file of the dashboard."""
    return _answer(request, name)


DASHBOARD = [page, static]
