"""A small web server on the loopback interface, for tests of downloads."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class _Answer:
    data: bytes
    length: int
    content_type: str


@dataclass
class Mirror:
    """What is served, and what was asked for."""

    port: int = 0
    answers: dict[str, _Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"

    def serve(
        self,
        name: str,
        data: bytes,
        *,
        cut_off: int | None = None,
        content_type: str = "application/octet-stream",
    ) -> str:
        """Answer with ``data``, or after promising it all with its first bytes alone; gives the URL."""
        self.answers[f"/{name}"] = _Answer(data[:cut_off], len(data), content_type)
        return self.url(name)


@contextmanager
def serving() -> Iterator[Mirror]:
    mirror = Mirror()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            mirror.asked.append(self.path)
            answer = mirror.answers.get(self.path)
            if answer is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(answer.length))
            self.end_headers()
            self.wfile.write(answer.data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the name it has)
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        mirror.port = server.server_port
        yield mirror
        server.shutdown()
        thread.join()
