"""Networks for machines: a switch in a namespace of its own, machines in theirs; nothing of it touches the host's."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass

PREFIX = "pqf-"
_NETWORK = "10.231.77"
_SERVER = f"{_NETWORK}.1"


def missing() -> str:
    """Why machines cannot have namespaces here, empty when they can."""
    absent = [tool for tool in ("ip", "iptables", "unshare") if shutil.which(tool) is None]
    if absent:
        return f"{', '.join(absent)} not installed (Debian: iproute2, iptables, util-linux)"
    if os.geteuid() != 0:
        return "only root may make namespaces"
    name = f"{PREFIX}try-{os.getpid()}"
    try:
        _run("ip", "netns", "add", name)
        _run("ip", "netns", "exec", name, "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "true")
        _run("ip", "netns", "exec", name, "iptables", "-S")
    except subprocess.CalledProcessError as error:
        return f"namespaces are not permitted here: {error.stderr.decode(errors='replace').strip()[:200]}"
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return ""


@dataclass
class Network:
    """The namespaces of one lab; all their names begin with the lab's."""

    lab: str
    _machines: int = 0

    @property
    def server_host(self) -> str:
        return _SERVER

    @property
    def server_prefix(self) -> tuple[str, ...]:
        return ("ip", "netns", "exec", f"{self.lab}-s")

    def build(self) -> None:
        switch = f"{self.lab}-s"
        _run("ip", "netns", "add", switch)
        _ip(switch, "link", "add", "switch", "type", "bridge")
        _ip(switch, "address", "add", f"{_SERVER}/24", "dev", "switch")
        for device in ("lo", "switch"):
            _ip(switch, "link", "set", device, "up")

    def add_machine(self, machine: str) -> tuple[str, ...]:
        """The command that enters a new machine, also after its power was off."""
        self._machines += 1
        space, port = self._space(machine), f"p{self._machines}"
        _run("ip", "netns", "add", space)
        _ip(f"{self.lab}-s", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", space)
        _ip(f"{self.lab}-s", "link", "set", port, "master", "switch", "up")
        _ip(space, "address", "add", f"{_NETWORK}.{10 + self._machines}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip(space, "link", "set", device, "up")
        return ("ip", "netns", "exec", space, "unshare", "--pid", "--fork", "--kill-child", "--mount-proc")

    def cut(self, machine: str) -> None:
        """Drops all it sends and gets, without a word."""
        for chain in ("INPUT", "OUTPUT"):
            self._iptables(machine, "-I", chain, "!", "-i" if chain == "INPUT" else "-o", "lo", "-j", "DROP")

    def heal(self, machine: str) -> None:
        self._iptables(machine, "-F")

    def remove(self) -> None:
        remove_namespaces(self.lab)

    def _iptables(self, machine: str, *words: str) -> None:
        _run("ip", "netns", "exec", self._space(machine), "iptables", "-w", *words)

    def _space(self, machine: str) -> str:
        return f"{self.lab}-{machine}"


def remove_namespaces(lab: str) -> None:
    """All those of a lab; their devices go with them."""
    if shutil.which("ip") is None:
        return
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False).stdout
    for line in listed.splitlines():
        name = line.split()[0]
        if name.startswith(f"{lab}-"):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _ip(space: str, *words: str) -> None:
    _run("ip", "-n", space, *words)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
