"""A package index on this machine, with wheels that hold a name and nothing else; it can ask for a password."""

from __future__ import annotations

import base64
import hashlib
import http.server
import os
import threading
import urllib.parse
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

USER, PASSWORD = "ann", "hunter2secret"


class Index(NamedTuple):
    """Where the index is, the folder of its wheels, and the paths that were asked for."""

    url: str
    files: Path
    asked: list[str]

    @property
    def with_password(self) -> str:
        return self.url.replace("://", f"://{USER}:{PASSWORD}@")


def wheel(folder: Path, name: str, version: str, *requires: str, tag: str = "py3-none-any") -> Path:
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    files = {
        f"{name}/__init__.py": f"__version__ = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inner, text in files.items():
            archive.writestr(inner, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{inner},,\n" for inner in (*files, f"{info}/RECORD")))
    return path


@contextmanager
def serving(files: Path, *, password: bool = False, hashes: bool = True) -> Iterator[Index]:
    """Serve a folder of wheels as a simple index; `password` asks for one, without `hashes` its links have none."""
    asked: list[str] = []
    wanted = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if password and self.headers.get("Authorization") != wanted:
                return self._answer(401, b"", [("WWW-Authenticate", 'Basic realm="x"')])
            path = urllib.parse.unquote(self.path)
            asked.append(path)
            kind, _, name = path.strip("/").partition("/")
            if kind == "files" and (files / name).is_file():
                return self._answer(200, (files / name).read_bytes(), [])
            links = [
                f'<a href="/files/{each.name}{_fragment(each) if hashes else ""}">{each.name}</a>'
                for each in sorted(files.glob("*.whl"))
                if each.name.partition("-")[0].replace("_", "-") == name.strip("/")
            ]
            body = "".join(links).encode()
            return self._answer(200 if links else 404, body, [("Content-Type", "text/html")])

        def _answer(self, status: int, body: bytes, headers: list[tuple[str, str]]) -> None:
            self.send_response(status)
            for key, value in (*headers, ("Content-Length", str(len(body)))):
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 - the server looks for this name

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield Index(f"http://127.0.0.1:{server.server_port}/simple", files, asked)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _fragment(path: Path) -> str:
    return f"#sha256={hashlib.sha256(path.read_bytes()).hexdigest()}"


def bare_environ(home: Path, **changes: str) -> dict[str, str]:
    """The environment of somebody who has set up neither pip nor uv."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "VIRTUAL_ENV"))}
    bare = {"PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1", "UV_CACHE_DIR": str(home / "uv"), "HOME": str(home)}
    return {**kept, **bare, "UV_HTTP_RETRIES": "0", "NO_PROXY": "*", **changes}
