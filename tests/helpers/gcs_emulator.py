"""Cloud Storage on this machine: an emulator in its own process, behind a proxy that can fail."""

import gzip
import http.client
import json
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, urlsplit

START_TIMEOUT_S = 20.0


class Reply(NamedTuple):
    """An answer to one request; a `body` shorter than it was is an answer cut off.

    `seconds_a_byte` makes it dribble, `resets` ends the connection as a crashed server does,
    `length` is what the header claims if not the truth, and `is_chunked` claims none but sends one
    chunk of the whole body.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    seconds_a_byte: float = 0
    resets: bool = False
    length: int | None = None
    is_chunked: bool = False


class Emulator:
    """gcp-storage-emulator, its objects in memory."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        options = ["start", "--host=127.0.0.1", f"--port={self.port}", "--in-memory", "--quiet"]
        self._process = subprocess.Popen([sys.executable, "-m", "gcp_storage_emulator", *options])
        end = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError("gcp-storage-emulator did not start")
            time.sleep(0.05)

    def stop(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Proxy(ThreadingHTTPServer):
    """Hands requests on to the emulator, notes them, and spoils answers when told to."""

    def __init__(self, emulator: Emulator, listener: socket.socket | None = None) -> None:
        """It listens on this machine, or with the socket `listener`."""
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener or socket.create_server(("127.0.0.1", 0))
        self.server_port = self.socket.getsockname()[1]
        self.emulator_port = emulator.port
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.requests: list[str] = []  # such as "GET /download/storage/v1/b/..."
        self.requests_of: defaultdict[str, list[str]] = defaultdict(list)  # by the client's address
        self.faults: list[Callable[[Reply], Reply]] = []  # each spoils one answer, in turn
        self.creating = threading.Lock()
        self.page_size: int | None = None  # of listings, which the emulator gives in one piece
        self.lasting_fault: Callable[[str, Reply], Reply] | None = None  # by the request
        self.may_replace = True  # and delete; else only create
        self.connections = 0
        threading.Thread(target=self.serve_forever, args=[0.05], daemon=True).start()

    def stop(self) -> None:
        """Ends the thread."""
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up in the middle of an answer is no error here."""


class _Handler(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def _forward(self) -> None:
        request = f"{self.command} {self.path}"
        self.server.requests.append(request)
        self.server.requests_of[self.client_address[0]].append(request)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "ifGenerationMatch=0" in self.path:  # which the emulator does not know
            with self.server.creating:
                exists = self._replaces(body)
                reply = Reply(412, {}, b"") if exists else self._ask(self.command, self.path, body)
        elif not self.server.may_replace and self._replaces(body):
            reply = not_allowed_to_replace(Reply(200, {}, b""))
        else:
            reply = self._ask(self.command, self.path, body)
        is_listing = self.command == "GET" and urlsplit(self.path).path.endswith("/o")
        if self.server.page_size is not None and is_listing:
            reply = _page(reply, self.path, self.server.page_size)
        length = len(reply.body)
        whole = reply
        if self.server.lasting_fault:
            reply = self.server.lasting_fault(request, reply)
        elif self.server.faults:
            reply = self.server.faults.pop(0)(reply)
        self.close_connection |= reply is not whole
        if reply.resets and not reply.body:
            self._reset()
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            if name.lower() not in ("content-length", "server", "date", "connection"):
                self.send_header(name, value)
        if reply.is_chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            length = length if reply.length is None else reply.length
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if reply.is_chunked:
            self.wfile.write(b"%x\r\n" % length)
        if reply.seconds_a_byte:
            for at in range(len(reply.body)):
                self.wfile.write(reply.body[at : at + 1])
                time.sleep(reply.seconds_a_byte)
            return
        self.wfile.write(reply.body)
        if reply.resets:
            self._reset()

    def _reset(self) -> None:
        """Ends the connection without a word."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _replaces(self, body: bytes) -> bool:
        """Whether the request deletes an object or uploads one that is there."""
        path, name = urlsplit(self.path).path, re.search(rb'"name": "([^"]*)"', body)
        if not path.startswith("/upload/") or name is None:
            return self.command == "DELETE"
        there = f"{path.removeprefix('/upload')}/{quote(name[1].decode(), safe='')}"
        return self._ask("GET", there).status == 200

    def _ask(self, command: str, path: str, body: bytes = b"") -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.emulator_port)
        try:
            connection.request(command, path, body, dict(self.headers))
            answer = connection.getresponse()
            return Reply(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing on standard error."""


for _method in ("GET", "POST", "PUT", "DELETE"):
    setattr(_Handler, f"do_{_method}", _Handler._forward)


def _page(reply: Reply, path: str, size: int) -> Reply:
    """One page of a listing, with the token of the next one only if `fields` asks for it."""
    query = parse_qs(urlsplit(path).query)
    listing = json.loads(reply.body)
    start = int(query.get("pageToken", ["0"])[0])
    page = {"items": listing["items"][start : start + size]}
    if start + size < len(listing["items"]) and "nextPageToken" in query["fields"][0]:
        page["nextPageToken"] = str(start + size)
    return reply._replace(body=json.dumps(page).encode())


def status(code: int, said: str = "", reason: str = "") -> Callable[[Reply], Reply]:
    """An answer of this status; what is `said` stands in its body as Cloud Storage has it."""

    def spoil(reply: Reply) -> Reply:
        error = {"code": code, "message": said, "errors": [{"message": said, "reason": reason}]}
        body = json.dumps({"error": error}).encode() if said else b" " * len(reply.body)
        return Reply(code, {}, body, length=len(body))

    return spoil


def not_allowed_to_replace(reply: Reply) -> Reply:
    """What Cloud Storage says to a role that may create objects, but not delete them."""
    said = (
        "ann@example.com does not have storage.objects.delete access to the Google Cloud Storage "
        "object. Permission 'storage.objects.delete' denied on resource (or it may not exist)."
    )
    return status(403, said, "forbidden")(reply)


def page_of_a_proxy(reply: Reply) -> Reply:
    """What a proxy says in the place of the storage, as if all were well."""
    body = b"<html><title>Sign in</title><p>to the network</html>"
    return Reply(200, {"Content-Type": "text/html"}, body, length=len(body))


def nothing(reply: Reply) -> Reply:
    """An empty answer, as if all were well."""
    return Reply(200, {}, b"", length=0)


def half_unchecked(reply: Reply) -> Reply:
    """Half of the answer, which claims to be whole, without the header of checksums."""
    headers = {name: each for name, each in reply.headers.items() if name != "X-Goog-Hash"}
    body = reply.body[: len(reply.body) // 2]
    return reply._replace(headers=headers, body=body, length=len(body))


def chunk_cut_off(reply: Reply) -> Reply:
    """Half of a chunk, then the connection ends."""
    return reply._replace(body=reply.body[: len(reply.body) // 2], is_chunked=True)


def flipped_byte(reply: Reply) -> Reply:
    """The answer with one bit of its middle byte turned."""
    body = bytearray(reply.body)
    body[len(body) // 2] ^= 1
    return reply._replace(body=bytes(body))


def cut_off(reply: Reply) -> Reply:
    """Half of the answer, then the connection ends."""
    return reply._replace(body=reply.body[: len(reply.body) // 2])


def reset(reply: Reply) -> Reply:
    """No answer, only the end of the connection."""
    return reply._replace(body=b"", resets=True)


def reset_within(reply: Reply) -> Reply:
    """Half of the answer, then the end of the connection."""
    return reply._replace(body=reply.body[: len(reply.body) // 2], resets=True)


def dribbling(reply: Reply) -> Reply:
    """The answer, a byte at a time."""
    return reply._replace(seconds_a_byte=0.01)


def zipped_error(reply: Reply) -> Reply:
    """403 in an answer that is compressed, as clients ask for it."""
    body = gzip.compress(b"Access denied.")
    return Reply(403, {"Content-Encoding": "gzip"}, body, length=len(body))


def empty(reply: Reply) -> Reply:
    """An answer that claims to be whole and has nothing."""
    return reply._replace(body=b"", length=0)


def too_short(reply: Reply) -> Reply:
    """An answer that claims to be whole and lacks its end."""
    body = reply.body[:-10]
    return reply._replace(body=body, length=len(body))


def too_long(reply: Reply) -> Reply:
    """An answer with something after its end."""
    body = reply.body + b"0123456789"
    return reply._replace(body=body, length=len(body))


def zipped(reply: Reply) -> Reply:
    """The answer compressed on its way, as a cache may do."""
    body = gzip.compress(reply.body)
    headers = reply.headers | {"Content-Encoding": "gzip"}
    return reply._replace(headers=headers, body=body, length=len(body))


def declared_as_gzip(reply: Reply) -> Reply:
    """The answer as of an object whose content is gzip and whose metadata says so."""
    return reply._replace(headers=reply.headers | {"Content-Encoding": "gzip"})
