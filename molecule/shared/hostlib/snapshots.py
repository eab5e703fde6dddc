"""What a scenario's hosts have on their disks once they are provisioned, kept to start from again within seconds.

A snapshot is what hosts that were shut down in order have written over their images. It belongs to one state of the
collection, the releases, the inventory and the images: with another one it does not exist. It is copied, not put below
the hosts' disks as a layer: in a lower layer of an overlay no directory can be renamed, and renaming is how the
collection replaces things.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hostlib.inventory import Host, named_values
from hostlib.machine import CACHE, KEY, PARTS, SNAPSHOTS, must_run, remove_tree, say

COLLECTION = PARTS.parents[2]
CONTENT = ("galaxy.yml", "meta", "playbooks", "plugins", "roles", "molecule/shared/hostlib")
KEY_FILE = "key"
# With them systemd would catch up, at boot, on what it has missed since: the nightly backup, for one.
TIMER_STAMPS = "var/lib/systemd/timers"


class Snapshot:
    """That of the hosts of one inventory."""

    def __init__(self, inventory: Path, hosts: Iterable[Host]):
        self.inventory = inventory.resolve()
        self.hosts = list(hosts)
        scenario = self.inventory.parent.parent.name
        self.directory = SNAPSHOTS / scenario
        self.unfinished = SNAPSHOTS / f".{scenario}"

    def exists(self) -> bool:
        """Whether there is one that was made of exactly what is here now."""
        try:
            return (self.directory / KEY_FILE).read_text() == self.key()
        except FileNotFoundError:
            return False

    def key(self) -> str:
        parts = [host.name + host.address + host.image for host in sorted(self.hosts, key=lambda host: host.name)]
        # Hosts let nobody in but its owner.
        parts += [KEY.with_suffix(".pub").read_text() if KEY.exists() else ""]
        parts += [str((CACHE / "releases" / "current").resolve()), core_version()]
        digest = hashlib.sha256(json.dumps(parts).encode())
        for path in self._files():
            digest.update(f"\0{path.relative_to(COLLECTION)}\0".encode() + path.read_bytes())
        return digest.hexdigest()

    def mark_fresh(self) -> None:
        """Note of what hosts with fresh disks are about to be made."""
        for host in self.hosts:
            host.made_of.write_text(self.key())

    def is_due(self) -> bool:
        """Whether the hosts are made of what is here now, and of nothing else before."""
        key = self.key()
        return all(host.made_of.exists() and host.made_of.read_text() == key for host in self.hosts)

    def layer(self, host: Host) -> Path:
        return self.directory / host.name

    def take(self) -> None:
        """Of hosts that are shut down. Only whole does it have its name."""
        remove_tree(self.directory)
        remove_tree(self.unfinished)
        self.unfinished.mkdir(parents=True)
        for host in self.hosts:
            layer = self.unfinished / host.name
            host.upper.rename(layer)
            remove_tree(layer / TIMER_STAMPS)
        for path in self._controller_files():
            copy(path, self.unfinished / "controller" / path.relative_to(CACHE))
        (self.unfinished / KEY_FILE).write_text(self.key())
        self.unfinished.rename(self.directory)

    def put_back(self, host: Host) -> None:
        """Give a host that was forgotten what it had."""
        (host.directory / "root").mkdir(parents=True)
        (host.directory / "work").mkdir()
        copy(self.layer(host), host.upper)
        host.save()

    def put_back_controller_files(self) -> None:
        """Cookie and CA, which are on the control node. What is the same is left: other scenarios may be reading it."""
        for path in self._controller_files():
            kept = self.directory / "controller" / path.relative_to(CACHE)
            if not (path.is_file() and kept.is_file() and path.read_bytes() == kept.read_bytes()):
                remove_tree(path)
                copy(kept, path)

    def _files(self) -> Iterator[Path]:
        for name in CONTENT:
            yield from files_below(COLLECTION / name)
        yield from files_below(self.inventory.parent)
        yield from files_below(self.inventory.parent.parent / "converge.yml")

    def _controller_files(self) -> list[Path]:
        """Those that are or were there."""
        clusters = named_values(self.inventory, "erlmcp_cluster_name") or ["erlmcp"]
        cookies = [CACHE / "cookies" / name for cluster in clusters for name in (cluster, f"{cluster}.next")]
        return cookies + [CACHE / "pki" / host.name for host in self.hosts]


def copy(path: Path, target: Path) -> None:
    """With owners, times and the marks that overlayfs makes for what was deleted. What is not there is left out."""
    if path.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        must_run("cp", "--archive", "--reflink=auto", "--no-target-directory", path, target)


def files_below(path: Path) -> Iterator[Path]:
    """Also through links to directories, as an inventory's variables are. Of what is not there, nothing."""
    if path.is_file():
        yield path
    elif path.is_dir() and path.name != "__pycache__":
        for each in sorted(path.iterdir()):
            yield from files_below(each)


def core_version() -> str:
    try:
        return version("ansible-core")
    except PackageNotFoundError:
        return "none"


def forget_unfinished() -> None:
    for path in SNAPSHOTS.glob(".*"):
        say(f"removing an unfinished snapshot of {path.name[1:]}")
        remove_tree(path)
