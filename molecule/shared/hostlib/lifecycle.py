"""Making, booting and forgetting hosts."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from pathlib import Path

from hostlib.images import ensure_image, host_image, remove_outdated_images
from hostlib.inventory import Host, recorded_hosts
from hostlib.machine import (
    BRIDGE,
    BRIDGE_ADDRESS,
    CGROUP,
    CONNECTIONS,
    HOSTS,
    IMAGES,
    KEY,
    PARTS,
    HostsError,
    check_disk,
    ensure_bridge,
    ensure_key,
    private,
    raise_inotify_limit,
    remove_bridge,
    remove_cgroups,
    remove_tree,
    restore_inotify_limit,
    run,
)
from hostlib.processes import MARK, POWER_OFF_SIGNAL, leader, mark, running, stop
from hostlib.snapshots import Snapshot, forget_unfinished

PARALLEL = 4
BOOT_SECONDS = 60
POLL_SECONDS = 0.1
LOG_TAIL_LINES = 30
SCENARIO_PREFIX = 24

NETWORK_FILE = """\
[Match]
Name=host0
[Network]
Address={address}/{prefix}
LinkLocalAddressing=no
"""


def bring_up(hosts: list[Host], lock: int) -> None:
    """Boot what is not up. A host that is to be different now is made anew."""
    for suite in {host.suite for host in hosts}:
        ensure_image(host_image(suite), lock)
    check_disk()
    ensure_key()
    ensure_bridge()
    raise_inotify_limit()
    clear_leftovers()
    recorded = recorded_hosts()
    in_parallel(make, [host for host in hosts if host not in recorded])
    remove_outdated_images({host.image for host in recorded_hosts()})
    in_parallel(boot, hosts)
    tell_names(recorded_hosts())


def take_down(hosts: list[Host]) -> None:
    in_parallel(forget, hosts)
    if not recorded_hosts():
        clear_leftovers()
        remove_cgroups(CGROUP)
        remove_bridge()
        restore_inotify_limit()


def clear_leftovers() -> None:
    """What an interrupted run left: half-made disks, half-ended hosts."""
    recorded = {host.name for host in recorded_hosts()}
    for name, processes in running().items():
        if name not in recorded or not processes.complete:
            stop(name)
    for directory in HOSTS.iterdir():
        if directory.name not in recorded:
            remove_tree(directory)
    forget_unfinished()


def in_parallel(function: Callable[[Host], None], hosts: Iterable[Host]) -> None:
    """All are tried; the first failure is the one reported."""
    with ThreadPoolExecutor(PARALLEL) as pool:
        results = [pool.submit(function, host) for host in hosts]
    for result in results:
        result.result()


def forget(host: Host) -> None:
    stop(host.name)
    host.record.unlink(missing_ok=True)
    remove_tree(host.directory)
    forget_connections(host)


def forget_connections(host: Host) -> None:
    """Ansible and the tests would go on with a connection whose other end is gone."""
    for connection in CONNECTIONS.glob(f"{host.address}-*"):
        connection.unlink(missing_ok=True)


def make(host: Host) -> None:
    """A fresh disk: only what tells this host from another of its image."""
    forget(host)
    for name in ("root", "work", "upper"):
        (host.directory / name).mkdir(parents=True)
    files = {
        "etc/hostname": f"{host.name}\n",
        "etc/hosts": "127.0.0.1 localhost\n",
        "etc/machine-id": f"{hashlib.sha256(host.name.encode()).hexdigest()[:32]}\n",
        "etc/systemd/network/10-host0.network": NETWORK_FILE.format(
            address=host.address, prefix=BRIDGE_ADDRESS.network.prefixlen
        ),
        "root/.ssh/authorized_keys": KEY.with_suffix(".pub").read_text(),
    }
    for name, content in files.items():
        path = host.directory / "upper" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    for name in ("root", "root/.ssh"):
        (host.directory / "upper" / name).chmod(0o700)
    host.save()


def begin(snapshot: Snapshot, lock: int) -> None:
    """Give a scenario its hosts: provisioned ones, or such as can be kept once they are."""
    if snapshot.exists():
        restore(snapshot, snapshot.hosts, lock)
        return
    in_parallel(forget, snapshot.hosts)
    bring_up(snapshot.hosts, lock)
    snapshot.mark_fresh()


def save(snapshot: Snapshot, lock: int) -> None:
    """Keep what the hosts have, and boot them from it."""
    in_parallel(lambda host: stop(host.name, POWER_OFF_SIGNAL), snapshot.hosts)
    snapshot.take()
    restore(snapshot, snapshot.hosts, lock)


def restore(snapshot: Snapshot, hosts: list[Host], lock: int) -> None:
    """Boot hosts with what they had when the snapshot was taken."""
    if not snapshot.exists():
        raise HostsError(f"no snapshot of {snapshot.inventory} as it is now: provision its hosts, then `hosts.py save`")

    in_parallel(forget, hosts)
    snapshot.put_back_controller_files()
    in_parallel(snapshot.put_back, hosts)
    bring_up(hosts, lock)


def boot(host: Host) -> None:
    """Wait for the end of the boot even if an earlier, interrupted run began it."""
    if host.name in running():
        ready = wait_until(lambda: is_booted(host), BOOT_SECONDS)
    else:
        supervisor = start(host)
        ready = wait_until(lambda: supervisor.poll() is not None or is_ready(host), BOOT_SECONDS)
        ready = ready and supervisor.poll() is None
    if not ready:
        show_log(host)
        stop(host.name)
        raise HostsError(f"{host.name} did not boot: see its log above, then `hosts.py reset INVENTORY`")


def start(host: Host) -> subprocess.Popen:
    """In a session of its own: a host outlives the shell that made it."""
    nspawn = [
        "systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--settings=no",
        "--link-journal=no", "--resolv-conf=off", "--timezone=off", "--console=read-only",
        f"--directory={host.directory / 'root'}", f"--network-bridge={BRIDGE}",
        f"--machine={host.name.replace('.', '-')}", f"--hostname={host.name}",
        f"--setenv={MARK}={mark(host.name)}",
    ]  # fmt: skip
    disk = [host.directory, IMAGES / host.image]
    with host.console.open("wb") as console:
        return subprocess.Popen(
            private("sh", PARTS / "boot.sh", *disk, f"{CGROUP}/{host.name}", *nspawn),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,
            env=os.environ | {MARK: mark(host.name)},
        )


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def inside(pid: int, *command: str) -> str:
    """What the command says in a host. By its init: needs neither ssh nor bus."""
    return run("nsenter", f"--target={pid}", "--all", "--root", "--wd", *command).stdout


def system_state(name: str) -> str:
    pid = leader(name)
    if pid is None:
        return "off"
    return inside(pid, "systemctl", "is-system-running").strip() or "starting"


def is_booted(host: Host) -> bool:
    return system_state(host.name) in ("running", "degraded")


def is_ready(host: Host) -> bool:
    return is_booted(host) and ssh_answers(host)


def ssh_answers(host: Host) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host.address, 22), timeout=1) as connection:
        return connection.recv(4) == b"SSH-"
    return False


def show_log(host: Host) -> None:
    """Of the console, and of the journal when there is an init to ask for it."""
    lines = host.console.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
    pid = leader(host.name)
    if pid is not None:
        lines += inside(pid, "journalctl", "--boot", "--no-pager", f"--lines={LOG_TAIL_LINES}").splitlines()
    print(f"--- {host.name}", *lines, sep="\n", file=sys.stderr)


def tell_names(hosts: list[Host]) -> None:
    """Add the names a running host does not know; leave what a role wrote.

    Only those of its own network, which is one scenario's: the tests of another may watch which files change.
    """
    networks = {host.name: ip_network(f"{host.address}/{SCENARIO_PREFIX}", strict=False) for host in hosts}
    for name, processes in running().items():
        near = [host for host in hosts if networks[host.name] == networks.get(name)]
        for pid in processes.leaders:
            path = Path(f"/proc/{pid}/root/etc/hosts")
            known = path.read_text().split()
            missing = [f"{host.address} {host.name}\n" for host in near if host.name not in known]
            if missing:
                with path.open("a") as file:
                    file.writelines(missing)
