#!/usr/bin/env python
"""Real systemd hosts for the tests and the demo, from Ansible inventories.

Each host of an inventory becomes a systemd-nspawn container with a disk and an
address of its own, on a bridge without a way out. README.md has the details.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from hostlib.images import SUITES, builder_image, ensure_image, host_image
from hostlib.inventory import read_inventories, recorded_host, recorded_hosts, wanted_hosts
from hostlib.lifecycle import (
    begin,
    bring_up,
    forget,
    forget_connections,
    in_parallel,
    inside,
    restore,
    save,
    system_state,
    take_down,
)
from hostlib.machine import KEY, PARTS, HostsError, check_machine, ensure_key, exclusive, private, say
from hostlib.processes import POWER_OFF_SIGNAL, leader, stop
from hostlib.snapshots import Snapshot


def command_up(options: argparse.Namespace) -> None:
    with exclusive() as lock:
        bring_up(wanted_hosts(options.inventory, options.suite), lock)


def command_reset(options: argparse.Namespace) -> None:
    with exclusive() as lock:
        hosts = wanted_hosts(options.inventory, options.suite)
        if options.limit:
            names = options.limit.split(",")
            unknown = set(names) - {host.name for host in hosts}
            if unknown:
                raise HostsError(f"not in these inventories: {', '.join(sorted(unknown))}")
            hosts = [host for host in hosts if host.name in names]
        in_parallel(forget, hosts)
        bring_up(hosts, lock)


def command_begin(options: argparse.Namespace) -> None:
    with exclusive() as lock:
        begin(wanted_snapshot(options), lock)


def command_save(options: argparse.Namespace) -> None:
    """Not of hosts that were made of something else before, or come from a snapshot."""
    with exclusive() as lock:
        snapshot = wanted_snapshot(options)
        if snapshot.is_due():
            save(snapshot, lock)
            print("saved")


def command_restore(options: argparse.Namespace) -> None:
    with exclusive() as lock:
        snapshot = wanted_snapshot(options)
        restore(snapshot, snapshot.hosts, lock)


def wanted_snapshot(options: argparse.Namespace) -> Snapshot:
    return Snapshot(Path(options.inventory), wanted_hosts([options.inventory], options.suite))


def command_down(options: argparse.Namespace) -> None:
    with exclusive():
        hosts = recorded_hosts()
        if options.inventory:
            names = read_inventories(options.inventory)
            hosts = [host for host in hosts if host.name in names]
        take_down(hosts)


def command_list(_options: argparse.Namespace) -> None:
    for host in recorded_hosts():
        columns = f"{host.name:32} {host.address:15} {host.suite:9} {system_state(host.name):10}"
        print(columns, leader(host.name) or "-")


def command_journal(options: argparse.Namespace) -> None:
    """Not exclusive: a test that failed asks, while another scenario makes its hosts."""
    pid = leader(options.name)
    if pid is None:
        raise HostsError(f"{options.name} is off: its console is {recorded_host(options.name).console}")
    print(inside(pid, "journalctl", "--no-pager", "--output=short-precise"), end="")


def command_power(options: argparse.Namespace) -> None:
    with exclusive() as lock:
        host = recorded_host(options.name)
        forget_connections(host)
        if options.state == "on":
            bring_up([host], lock)
        elif options.state == "off":
            stop(host.name, POWER_OFF_SIGNAL)
        else:
            stop(host.name)


def command_image(options: argparse.Namespace) -> None:
    with exclusive() as lock:
        print(ensure_image(host_image(options.suite), lock))


def command_builder(options: argparse.Namespace) -> int:
    """The lock is not for the command: builds may run beside each other."""
    for bind in options.bind:
        source, _colon, target = bind.partition(":")
        if not (Path(source).is_dir() and target.startswith("/")):
            raise HostsError(f"--bind {bind}: not an existing directory, a colon and an absolute path")
    with exclusive() as lock:
        image = ensure_image(builder_image(options.suite), lock)
    # No network, and no trace but in the bound directories: a build is repeatable.
    namespaces = ("--net", "--pid", "--fork", "--kill-child")
    builder = ["sh", PARTS / "builder.sh", image, *options.bind, "--", *options.command]
    return subprocess.run(private(*builder, namespaces=namespaces), check=False).returncode


def command_key(_options: argparse.Namespace) -> None:
    with exclusive():
        ensure_key()
    print(KEY)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="hosts.py", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(required=True)

    def add(function: Callable, summary: str) -> argparse.ArgumentParser:
        name = function.__name__.removeprefix("command_")
        command = commands.add_parser(name, help=summary, description=summary)
        command.set_defaults(function=function)
        return command

    up = add(command_up, "boot the hosts of these inventories that are not up")
    reset = add(command_reset, "give hosts a fresh disk and boot them")
    reset.add_argument("--limit", metavar="NAME,...", help="only these hosts")
    for command in (up, reset):
        command.add_argument("inventory", nargs="+", metavar="INVENTORY")
    kept = [
        add(
            command_begin,
            "give the hosts of this inventory what was saved of the same, else fresh disks",
        ),
        add(command_save, "keep what the hosts of this inventory have, if they were provisioned from fresh disks"),
        add(command_restore, "give the hosts of this inventory again what was saved"),
    ]
    for command in kept:
        command.add_argument("inventory", metavar="INVENTORY")
    for command in (up, reset, *kept):
        command.add_argument("--suite", choices=SUITES, default=os.environ.get("ERLMCP_TEST_SUITE"))
    down = add(command_down, "stop and delete hosts: all, or those of these inventories")
    down.add_argument("inventory", nargs="*", metavar="INVENTORY")
    add(command_list, "show name, address, suite, state and first process of each host")
    power = add(command_power, "shut a host down (off), cut its power (kill), or boot it again (on)")
    power.add_argument("state", choices=("off", "on", "kill"))
    power.add_argument("name", metavar="NAME")
    journal = add(command_journal, "print the journal of a host")
    journal.add_argument("name", metavar="NAME")
    image = add(command_image, "build the image of a suite unless it is there; print its path")
    image.add_argument("suite", choices=SUITES)
    builder = add(command_builder, "run a command in a root with rebar3 and Erlang, without network")
    builder.add_argument("--bind", action="append", default=[], metavar="SRC:DST", help="a directory to share")
    builder.add_argument("suite", choices=SUITES)
    builder.add_argument("command", nargs="+", metavar="COMMAND", help="after --")
    add(command_key, "print the path of the private ssh key")
    return parser.parse_args()


def main() -> int:
    options = parse_arguments()
    # Directories of a host's disk are made here, and its users must see them.
    os.umask(0o022)
    # `list | head` is no failure.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        check_machine()
        return options.function(options) or 0
    except HostsError as error:
        say(error)
        return 1
    except KeyboardInterrupt:
        say("interrupted: `hosts.py up` goes on, `hosts.py down` clears up")
        return 130


if __name__ == "__main__":
    sys.exit(main())
