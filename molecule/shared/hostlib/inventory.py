"""The hosts that inventories ask for, and those that have been made."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from hostlib.images import SUITES, host_image
from hostlib.machine import BRIDGE_ADDRESS, HOSTS, HostsError

DEFAULT_SUITE = "bookworm"


@dataclass(frozen=True)
class Host:
    """One host as an inventory asks for it, and as its directory records it."""

    name: str
    address: str
    suite: str
    image: str

    @property
    def directory(self) -> Path:
        return HOSTS / self.name

    @property
    def console(self) -> Path:
        return self.directory / "console.log"

    @property
    def upper(self) -> Path:
        """What the host has written over its image."""
        return self.directory / "upper"

    @property
    def made_of(self) -> Path:
        """The key of the snapshot that the host's disk may become."""
        return self.directory / "made-of"

    @property
    def record(self) -> Path:
        return self.directory / "host.json"

    def save(self) -> None:
        """Whole or not at all: a directory without a record is a leftover."""
        unfinished = self.record.with_suffix(".new")
        unfinished.write_text(json.dumps(asdict(self)))
        unfinished.rename(self.record)


def recorded_hosts() -> list[Host]:
    """Without those whose disk became a snapshot, before they got another one."""
    hosts = [Host(**json.loads(record.read_text())) for record in sorted(HOSTS.glob("*/host.json"))]
    return [host for host in hosts if host.upper.is_dir()]


def recorded_host(name: str) -> Host:
    for host in recorded_hosts():
        if host.name == name:
            return host
    raise HostsError(f"no host {name}: make it with `hosts.py up INVENTORY`")


def wanted_hosts(inventories: Iterable[str], suite: str | None) -> list[Host]:
    """A suite that is asked for nowhere stays what it is on a host already made."""
    recorded = {host.name: host for host in recorded_hosts()}
    wanted = []
    for name, variables in read_inventories(inventories).items():
        made = recorded[name].suite if name in recorded else DEFAULT_SUITE
        host_suite = variables.get("test_host_suite") or suite or made
        if host_suite not in SUITES:
            raise HostsError(f"{name}: suite {host_suite} is not one of {', '.join(SUITES)}")
        wanted.append(Host(name, host_address(name, variables), host_suite, host_image(host_suite).name))
    if not wanted:
        raise HostsError("no host in these inventories: give YAML inventories with `hosts:`")
    check_distinct((recorded | {host.name: host for host in wanted}).values())
    return wanted


def read_inventories(paths: Iterable[str]) -> dict[str, dict]:
    """The variables of every host but the controller itself, by its name."""
    try:
        import yaml
    except ImportError:
        raise HostsError("PyYAML is missing: apt-get install python3-yaml") from None
    found: dict[str, dict] = {}
    for path in paths:
        try:
            collect_hosts(yaml.safe_load(Path(path).read_text(encoding="utf-8")), found)
        except (OSError, yaml.YAMLError) as error:
            raise HostsError(f"{path}: {' '.join(str(error).split())}") from None
    return {name: variables for name, variables in found.items() if variables.get("ansible_connection") != "local"}


def collect_hosts(node: object, found: dict[str, dict]) -> None:
    """A host may stand in several groups, with variables in only one of them."""
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key == "hosts" and isinstance(value, dict):
            for name, variables in value.items():
                found.setdefault(str(name), {}).update(variables or {})
        else:
            collect_hosts(value, found)


def named_values(path: Path, wanted: str) -> list[str]:
    """Every value that a variable of this name has anywhere in an inventory."""
    import yaml

    def search(node: object) -> Iterator[str]:
        if isinstance(node, dict):
            for key, value in node.items():
                if key == wanted:
                    yield str(value)
                else:
                    yield from search(value)

    return sorted(set(search(yaml.safe_load(path.read_text(encoding="utf-8")))))


def host_address(name: str, variables: dict) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,63}", name):
        raise HostsError(f"{name}: not a host name: use lower case, digits, dots and hyphens")
    network = BRIDGE_ADDRESS.network
    try:
        address = ipaddress.ip_address(str(variables.get("ansible_host")))
    except ValueError:
        raise HostsError(f"{name}: set ansible_host to an address in {network}") from None
    if address not in network or address == BRIDGE_ADDRESS.ip:
        raise HostsError(f"{name}: {address} is not a host address in {network}")
    return str(address)


def check_distinct(hosts: Iterable[Host]) -> None:
    owners: dict[str, str] = {}
    for host in hosts:
        other = owners.setdefault(host.address, host.name)
        if other != host.name:
            raise HostsError(f"{host.name} and {other} have one address, {host.address}: take down or change one")
