"""Dataflow without a cloud: the REST calls by which a job is created and followed, noted down."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

JOB_ID = "2026-11-24_10_20_30-1234567890"
CREATED, ENDED = "2026-11-24T10:20:30Z", "2026-11-24T10:22:00Z"  # 90 seconds


class Recorder(ThreadingHTTPServer):
    """Takes one job; `states` are those it answers with, one a question, the last for ever."""

    def __init__(self) -> None:
        super().__init__(("localhost", 0), _Handler)
        self.job: dict[str, Any] = {}
        self.states = ["JOB_STATE_DONE"]
        self.metrics: list[dict[str, Any]] = []
        self.errors: list[str] = []
        self.asked: list[str] = []  # paths of jobs whose state was asked for
        self.importance: list[str] = []  # of the messages it was asked for: 4 are errors
        threading.Thread(target=self.serve_forever, args=[0.05], daemon=True).start()

    def options(self) -> list[str]:
        """The Beam options that send a job here."""
        return [f"--dataflow_endpoint=http://localhost:{self.server_port}", "--no_auth"]

    def stop(self) -> None:
        """Ends the thread."""
        self.shutdown()
        self.server_close()

    def count(self, name: str, value: int, step: str) -> None:
        """Adds a counter to the metrics, committed and tentative as the service gives them."""
        for context in ({}, {"tentative": "true"}):
            self.metrics.append(
                {
                    "name": {
                        "origin": "user",
                        "name": name,
                        "context": {"namespace": "images", "step": step, **context},
                    },
                    "scalar": value,
                }
            )


class _Handler(BaseHTTPRequestHandler):
    server: Recorder

    def do_POST(self) -> None:
        self.server.job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._reply(self._job("JOB_STATE_PENDING"))

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        kind = url.path.rsplit("/", 1)[-1]
        if kind == "metrics":
            self._reply({"metrics": self.server.metrics})
        elif kind == "messages":
            self.server.importance = parse_qs(unquote(url.query))["minimumImportance"]
            self._reply({"jobMessages": [{"messageText": text} for text in self.server.errors]})
        else:
            self.server.asked.append(url.path)
            states = self.server.states
            self._reply(self._job(states.pop(0) if len(states) > 1 else states[0]))

    def _job(self, state: str) -> dict[str, Any]:
        return {
            "id": JOB_ID,
            "name": self.server.job["name"],
            "clientRequestId": self.server.job["clientRequestId"],
            "currentState": state,
            "createTime": CREATED,
            "currentStateTime": ENDED,
        }

    def _reply(self, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing on standard error."""
