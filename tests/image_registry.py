"""A registry on this machine: manifests and configs, over the OCI distribution API."""

import hashlib
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

TITLE, VERSION, BASE = (
    f"org.opencontainers.image.{key}" for key in ("title", "version", "base.name")
)
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX: Final = "application/vnd.oci.image.index.v1+json"
_PATH: Final = re.compile(r"/v2/(.+)/(manifests|blobs)/([^/]+)")
_TOKEN: Final = "a-token-for-everybody"


class Registry(ThreadingHTTPServer):
    """Holds images for anybody, or for whoever asked its service for a token first."""

    def __init__(self) -> None:
        super().__init__(("localhost", 0), _Handler)
        self.host = f"localhost:{self.server_port}"
        self.requests: list[str] = []  # paths, and the token where there was one
        self.is_public = True  # else a token is asked for, which everybody gets
        self.has_tokens = True
        self.answers: dict[str, tuple[int, bytes]] = {}  # instead of what it holds, by path
        self.seconds = 0.0  # before each answer
        self._held: dict[tuple[str, str], tuple[str, bytes]] = {}
        threading.Thread(target=self.serve_forever, args=[0.05], daemon=True).start()

    def stop(self) -> None:
        """Ends the thread."""
        self.shutdown()
        self.server_close()

    def push(
        self,
        repository: str,
        tag: str,
        labels: dict[str, str] | None,
        platform: str = "linux/amd64",
    ) -> str:
        """Stores an image of one platform and says its name."""
        manifest = self._manifest(repository, labels, platform)
        self._held[repository, tag] = MANIFEST, manifest
        return f"{self.host}/{repository}:{tag}"

    def push_index(self, repository: str, tag: str, images: dict[str, dict[str, str]]) -> str:
        """Stores one image for several platforms, each with labels of its own, as buildx does."""
        entries = []
        for platform, labels in images.items():
            manifest = self._manifest(repository, labels, platform)
            operating_system, architecture = platform.split("/")
            entries.append(
                {
                    "mediaType": MANIFEST,
                    "digest": _digest(manifest),
                    "size": len(manifest),
                    "platform": {"os": operating_system, "architecture": architecture},
                }
            )
        unknown = {"os": "unknown", "architecture": "unknown"}
        entries.append({"mediaType": MANIFEST, "digest": "sha256:0", "platform": unknown})
        index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
        self._held[repository, tag] = INDEX, index
        return f"{self.host}/{repository}:{tag}"

    def held(self, repository: str, reference: str) -> tuple[str, bytes] | None:
        """Media type and content."""
        return self._held.get((repository, reference))

    def _manifest(self, repository: str, labels: dict[str, str] | None, platform: str) -> bytes:
        operating_system, architecture = platform.split("/")
        config = json.dumps(
            {
                "architecture": architecture,
                "os": operating_system,
                "config": {"Env": ["PATH=/bin"], "Labels": labels},
                "rootfs": {"type": "layers", "diff_ids": []},
            }
        ).encode()
        described = {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": _digest(config),
            "size": len(config),
        }
        manifest = json.dumps(
            {"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": []}
        ).encode()
        self._held[repository, _digest(config)] = "application/octet-stream", config
        self._held[repository, _digest(manifest)] = MANIFEST, manifest
        return manifest


class _Handler(BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        token = self.headers.get("Authorization")
        self.server.requests.append(self.path + (f" {token}" if token else ""))
        time.sleep(self.server.seconds)
        url = urlsplit(self.path)
        if url.path in self.server.answers:
            status, body = self.server.answers[url.path]
            self._reply(status, body)
        elif url.path == "/token":
            self._give_token(parse_qs(url.query))
        elif not self.server.is_public and token != f"Bearer {_TOKEN}":
            self._challenge()
        else:
            self._give(url.path)

    def _give(self, path: str) -> None:
        match = _PATH.fullmatch(path)
        held = self.server.held(match[1], match[3]) if match else None
        if held is None:
            errors = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}
            self._reply(404, json.dumps(errors).encode())
            return
        media_type, content = held
        assert media_type == "application/octet-stream" or media_type in self.headers["Accept"]
        self._reply(200, content, {"Content-Type": media_type})

    def _challenge(self) -> None:
        name = _PATH.fullmatch(urlsplit(self.path).path)
        said = f'realm="http://{self.server.host}/token",service="here"'
        scope = f',scope="repository:{name[1] if name else ""}:pull"'
        self._reply(401, b"{}", {"WWW-Authenticate": f"Bearer {said}{scope}"})

    def _give_token(self, query: dict[str, list[str]]) -> None:
        assert set(query) == {"service", "scope"}
        if self.server.has_tokens:
            self._reply(200, json.dumps({"token": _TOKEN, "expires_in": 300}).encode())
        else:
            self._reply(403, b"{}")

    def _reply(self, status: int, body: bytes, headers: dict[str, Any] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing on standard error."""


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
