"""A small server that speaks the protocol of OpenAI-compatible clients, over real HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class ModelServer:
    """Answers each request with the text of its last message. It keeps the requests."""

    def __init__(self) -> None:
        self.requests: list[Mapping[str, Any]] = []
        self.before_reply: Callable[[], object] = lambda: None
        self.status = 200
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.requests.append(request)
                number = len(server.requests)
                server.before_reply()
                if server.status != 200:
                    self._send("application/json", json.dumps({"error": {"message": "overloaded"}}))
                elif request.get("stream"):
                    self._send("text/event-stream", "".join(map(_event, _parts(number))) + "data: [DONE]\n\n")
                else:
                    self._send("application/json", json.dumps(_completion(number)))

            def _send(self, kind: str, text: str) -> None:
                body = text.encode()
                self.send_response(server.status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                """Keeps quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def prompts(self) -> list[str]:
        """Returns the text of all messages of each request."""
        return [json.dumps(request["messages"], ensure_ascii=False) for request in self.requests]

    def stop(self) -> None:
        """Stops the server."""
        self._server.shutdown()
        self._server.server_close()


def _completion(number: int) -> Mapping[str, Any]:
    message = {"role": "assistant", "content": f"reply {number}"}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return {"id": f"cmpl-{number}", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}


def _parts(number: int) -> list[Mapping[str, Any]]:
    return [
        {
            "id": f"cmpl-{number}",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "finish_reason": None, "delta": {"content": text}}],
        }
        for text in ("re", "ply")
    ]


def _event(part: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(part)}\n\n"
