"""Debian trees, built once, which the hosts and the release builds start from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from hostlib.machine import IMAGES, PARTS, check_disk, must_run, private, remove_tree, say

SUITES = ("bookworm", "trixie")
SSL_LIBRARY = {"bookworm": "libssl3", "trixie": "libssl3t64"}
HOST_PACKAGES = (
    "systemd systemd-sysv dbus python3 python3-apt openssh-server iproute2 iptables nftables sudo"
    " ca-certificates procps curl netcat-openbsd zstd libtinfo6"
)
INSTALLABLE_PACKAGES = (
    "ufw logrotate erlang-base erlang-mnesia erlang-ssl erlang-runtime-tools auditd haproxy rsync age firewalld rclone"
    " restic borgbackup unattended-upgrades libpam-tmpdir"
)
BUILDER_PACKAGES = (
    "rebar3 erlang-base erlang-dev erlang-mnesia erlang-crypto erlang-ssl erlang-public-key erlang-asn1"
    " erlang-runtime-tools erlang-tools erlang-syntax-tools erlang-parsetools erlang-eunit"
)
# Documentation and translations are a fifth of a minimal system. dpkg keeps
# these options, for the packages installed later on a host too.
DPKG_OPTIONS = (
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-include=/usr/share/doc/auditd/*",
    "force-unsafe-io",
)
CUSTOMIZE = PARTS / "customize-image.sh"
HOOK_FILES = (CUSTOMIZE, PARTS / "zip_bytecode.py")


@dataclass(frozen=True)
class Image:
    """A tree which is only read once it is there."""

    kind: str
    suite: str
    packages: str
    installable: str = ""

    @property
    def name(self) -> str:
        """Named by all that decides its content, so that a change makes another."""
        hook = "".join(path.read_text() for path in HOOK_FILES) if self.installable else ""
        digest = hashlib.sha256(json.dumps([asdict(self), DPKG_OPTIONS, hook]).encode()).hexdigest()
        return f"{self.kind}-{self.suite}-{digest[:16]}"

    @property
    def path(self) -> Path:
        return IMAGES / self.name


def host_image(suite: str) -> Image:
    return Image("host", suite, f"{HOST_PACKAGES} {SSL_LIBRARY[suite]}", INSTALLABLE_PACKAGES)


def builder_image(suite: str) -> Image:
    return Image("builder", suite, BUILDER_PACKAGES)


def ensure_image(image: Image, lock: int) -> Path:
    if not image.path.exists():
        check_disk()
        IMAGES.mkdir(exist_ok=True)
        for leftover in IMAGES.glob(".building-*"):
            remove_tree(leftover)
        build_image(image, lock)
    return image.path


def build_image(image: Image, lock: int) -> None:
    """The child gets the lock, and so keeps it when this process is killed."""
    say(f"building the {image.kind} image of {image.suite}")
    building = IMAGES / f".building-{image.name}"
    command = ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={image.packages}"]
    command += [f"--dpkgopt={option}" for option in DPKG_OPTIONS]
    if image.installable:
        command += ["--skip=cleanup/apt/lists", f'--customize-hook=sh {CUSTOMIZE} "$1"']
    environment = os.environ | {"TEST_HOST_PACKAGES": image.installable}
    must_run(*private(*command, image.suite, building), env=environment, pass_fds=[lock])
    building.rename(image.path)


def remove_outdated_images(used: Collection[str]) -> None:
    """Those of an earlier version of this code, unless a host still has one."""
    current = {make(suite).name for make in (host_image, builder_image) for suite in SUITES}
    for path in IMAGES.glob("*"):
        if path.name not in current and path.name not in used:
            remove_tree(path)
