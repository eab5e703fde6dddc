"""What the hosts need of the machine they are on, and where their files are."""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PARTS = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("ERLMCP_OPS_CACHE", "/var/cache/erlmcp-ops"))
IMAGES = CACHE / "images"
HOSTS = CACHE / "hosts"
SNAPSHOTS = CACHE / "snapshots"
CONNECTIONS = CACHE / "cp"
KEY = CACHE / "ssh" / "id_ed25519"
INOTIFY_LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_BEFORE = CACHE / "inotify"
INOTIFY_INSTANCES = 1024

BRIDGE = "erlmcp0"
BRIDGE_ADDRESS = ipaddress.ip_interface("10.83.0.1/16")
CGROUP = "erlmcp-ops"

REQUIRED_COMMANDS = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "ssh-keygen": "openssh-client",
}
MINIMUM_FREE_BYTES = 2 * 1024**3


class HostsError(Exception):
    """A failure with a cause and a next action the user can be told."""


def say(message: object) -> None:
    print(f"hosts.py: {message}", file=sys.stderr, flush=True)


def run(*command: str | Path, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], text=True, capture_output=True, check=False, **options)


def must_run(*command: str | Path, **options) -> str:
    result = run(*command, **options)
    if result.returncode:
        said = (result.stderr.strip() or result.stdout.strip()).splitlines()
        raise HostsError(f"`{command[0]}` failed: {said[-1] if said else f'exit code {result.returncode}'}")
    return result.stdout


def private(*command: str | Path, namespaces: tuple[str, ...] = ()) -> list[str]:
    """The command, in a mount namespace which leaves nothing on the machine."""
    enter = ["unshare", "--mount", "--propagation", "unchanged", *namespaces, "sh"]
    return [*enter, str(PARTS / "private-root.sh"), *map(str, command)]


def check_machine() -> None:
    if os.geteuid():
        raise HostsError("must run as root: run it again with sudo")
    for command, package in REQUIRED_COMMANDS.items():
        if not shutil.which(command):
            raise HostsError(f"`{command}` is missing: apt-get install {package}")
    for path, mount in (("/proc/self", "-t proc proc /proc"), ("/sys/fs/cgroup", "-t sysfs sysfs /sys")):
        if not Path(path).exists():
            raise HostsError(f"{path} is missing: mount {mount}")
    HOSTS.mkdir(parents=True, exist_ok=True)
    if must_run("stat", "--file-system", "--format=%T", CACHE).strip() == "overlayfs":
        raise HostsError(f"{CACHE} is on overlayfs: set ERLMCP_OPS_CACHE to a directory on a disk")


def check_disk() -> None:
    if shutil.disk_usage(CACHE).free < MINIMUM_FREE_BYTES:
        raise HostsError(f"less than 2 GB free for {CACHE}: free some, or set ERLMCP_OPS_CACHE elsewhere")


@contextlib.contextmanager
def exclusive() -> Iterator[int]:
    """One invocation at a time; yields the lock, for a child that must hold it."""
    with (CACHE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another invocation")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def remove_tree(path: Path) -> None:
    """Never across a mount, which could be the machine's own /dev."""
    must_run("rm", "--recursive", "--force", "--one-file-system", path)


def ensure_key() -> None:
    if not KEY.exists():
        KEY.parent.mkdir(mode=0o700, exist_ok=True)
        must_run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test-hosts", "-f", KEY)


def bridge_exists() -> bool:
    return run("ip", "link", "show", BRIDGE).returncode == 0


def ensure_bridge() -> None:
    if not bridge_exists():
        must_run("ip", "link", "add", BRIDGE, "type", "bridge")
    must_run("ip", "address", "replace", str(BRIDGE_ADDRESS), "dev", BRIDGE)
    must_run("ip", "link", "set", BRIDGE, "up")


def remove_bridge() -> None:
    """Unless the hosts of another cache directory still use it."""
    if bridge_exists() and not must_run("ip", "-oneline", "link", "show", "master", BRIDGE):
        must_run("ip", "link", "delete", BRIDGE)


def raise_inotify_limit() -> None:
    """Each systemd takes some seven of the 128 instances that a kernel gives to root, and here is one for each host."""
    if int(INOTIFY_LIMIT.read_text()) < INOTIFY_INSTANCES:
        INOTIFY_BEFORE.write_text(INOTIFY_LIMIT.read_text())
        INOTIFY_LIMIT.write_text(str(INOTIFY_INSTANCES))


def restore_inotify_limit() -> None:
    """Unless the hosts of another cache directory still need it."""
    if INOTIFY_BEFORE.exists() and not bridge_exists():
        INOTIFY_LIMIT.write_text(INOTIFY_BEFORE.read_text())
        INOTIFY_BEFORE.unlink()


def remove_cgroups(directory: str) -> None:
    """Only empty ones go: rmdir refuses the rest."""
    script = 'test ! -d "$0" || find "$0" -depth -type d -exec rmdir {} + 2>/dev/null || true'
    must_run(*private("sh", "-c", script, f"/sys/fs/cgroup/{directory}"))
