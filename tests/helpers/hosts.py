"""Hosts on this machine: a name, a network and files of their own, as far as processes can tell.

Each is a set of Linux namespaces that one process holds, and that process ends with this one. The
kernel takes namespaces and cables away with the last process in them: nothing can be left behind,
and this machine's own network is never touched.
"""

import shutil
import socket
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from tests.helpers.model_fixtures import ROOT

HEAD = "head"
_NAMESPACES = ("--net", "--uts", "--mount")
_PREFIX = "192.0.2."  # of addresses that belong to nobody (RFC 5737)

# Name, table of names, and a folder to hide. Who learns that it is up can enter.
_BOOT = """
set -e
hostname "$1"
mount --bind "$2" /etc/hosts
if [ -n "$3" ]; then mount -t tmpfs tmpfs "$3"; mkdir "$3/tmp"; fi
ip link set lo up
echo up
exec cat
"""
_LISTEN = """
import socket
listener = socket.create_server(("", 0))
socket.send_fds(socket.socket(fileno=0), [b" "], [listener.fileno()])
"""


class Host:
    """Where a process runs: this machine as it is."""

    name = "localhost"  # by which others reach it

    def command(self, *command: str) -> list[str]:
        """What to run on this machine for `command` to run on this host."""
        return [*command]


HERE = Host()


class OwnHost(Host):
    """A host with a network of its own, and with an empty folder in place of `hidden`."""

    def __init__(self, name: str, address: str, names: Path, hidden: Path | None) -> None:
        """`names` is its /etc/hosts."""
        self.name, self.address = name, address
        self._holder = subprocess.Popen(
            ["unshare", *_NAMESPACES, "sh", "-c", _BOOT, "sh", name, str(names), str(hidden or "")],
            stdin=subprocess.PIPE,  # its end tells the process that this one is gone
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
        )
        assert self._holder.stdout is not None
        said = self._holder.stdout.readline().strip()
        if said != "up":
            self.stop()
            raise RuntimeError(f"host {name!r} did not start: {said}")
        self.pid = self._holder.pid

    def command(self, *command: str) -> list[str]:
        """See `Host.command`."""
        return ["nsenter", f"--target={self.pid}", *_NAMESPACES, "--wd", "--", *command]

    def run(self, *command: str) -> str:
        """What a command on this host prints.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        done = subprocess.run(self.command(*command), check=True, capture_output=True, text=True)
        return done.stdout

    def listener(self) -> socket.socket:
        """A socket of this process that listens on this host."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            subprocess.run(
                self.command(sys.executable, "-c", _LISTEN), stdin=theirs.fileno(), check=True
            )
            _, (descriptor,), *_ = socket.recv_fds(ours, 1, 1)
        return socket.socket(fileno=descriptor)

    def stop(self) -> None:
        """Lets go of the namespaces."""
        self._holder.kill()
        self._holder.communicate()


class Network(AbstractContextManager["Network"]):
    """A head, and hosts that each have a cable to it and see nothing below `hidden`.

    with Network(2, hidden=tmp_path) as network:
        network.hosts[0].run("ls", str(network.temporary))
        network.unplug(network.hosts[0])
    """

    def __init__(self, hosts: int, hidden: Path) -> None:
        """`hidden` is there for the head; for each host it is an empty folder of its own."""
        self.temporary = hidden / "tmp"  # for temporary files, on each host its own
        self.temporary.mkdir(exist_ok=True)
        names = [HEAD, *(f"host-{number}" for number in range(1, hosts + 1))]
        addresses = {name: f"{_PREFIX}{number}" for number, name in enumerate(names, 1)}
        table = hidden / "hosts"
        lines = [f"{address} {name}\n" for name, address in addresses.items()]
        table.write_text("".join(["127.0.0.1 localhost\n", *lines]))
        self._started: list[OwnHost] = []
        try:
            for name, address in addresses.items():
                hides = None if name == HEAD else hidden
                self._started.append(OwnHost(name, address, table, hides))
            self.head, *self.hosts = self._started
            for host in self.hosts:
                self._connect(host)
        except BaseException:
            self.stop()
            raise

    def unplug(self, host: OwnHost) -> None:
        """From now on nothing reaches the host, and nothing comes from it, not even a goodbye."""
        host.run("ip", "link", "set", HEAD, "down")

    def plug_in(self, host: OwnHost) -> None:
        """Undoes `unplug`."""
        host.run("ip", "link", "set", HEAD, "up")

    def stop(self) -> None:
        """Ends all hosts; what still runs on them is alone from then on."""
        for host in self._started:
            host.stop()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _connect(self, host: OwnHost) -> None:
        """A cable, each end of which is named after the host at the other one."""
        cable = ("type", "veth", "peer", "name", HEAD, "netns", str(host.pid))
        self.head.run("ip", "link", "add", host.name, *cable)
        for one, other in ((self.head, host), (host, self.head)):
            there = ("peer", other.address, "dev", other.name)
            one.run("ip", "address", "add", one.address, *there)
            one.run("ip", "link", "set", other.name, "up")


def why_no_hosts() -> str | None:
    """Why hosts cannot be made here, if they cannot."""
    for tool, package in (("unshare", "util-linux"), ("nsenter", "util-linux"), ("ip", "iproute2")):
        if shutil.which(tool) is None:
            return f"needs Linux and its command `{tool}`, of the package {package}"
    cable = ("ip", "link", "add", "left", "type", "veth", "peer", "name", "right")
    tried = subprocess.run(["unshare", *_NAMESPACES, *cable], capture_output=True, text=True)
    if tried.returncode == 0:
        return None
    return (
        f"network namespaces cannot be made ({tried.stderr.strip()}): "
        "run as root, or under `unshare --map-root-user`"
    )
