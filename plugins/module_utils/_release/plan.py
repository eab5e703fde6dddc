# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What will be on the host afterwards, computed from what is there: no input or output.

A plan is two states. What to do, what to report and what check mode predicts are differences between them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from .._core.errors import OpsError
from .._core.slots import SlotState
from .archive import Release, check_version

# What a running node needs meanwhile for its logs and data.
SPARE_BYTES = 64 * 1024**2

# The machines (uname -m) that run another machine's programs too.
_ALSO_RUNS = {"x86_64": ("i386",), "aarch64": ("arm",)}


@dataclass(frozen=True)
class State:
    """What is in the install directory.

    ``installed``: releases, the latest installed last. ``foreign``: names in its ``releases`` that no run of this
    module completed. ``leftovers``: names that a killed run left, which the next one clears. ``stopped``: whether it is
    known that no process runs ``current``. ``damaged``: versions with files that are not as they were laid down.
    """

    slots: SlotState = SlotState()
    installed: tuple[Release, ...] = ()
    foreign: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()
    stopped: bool = False
    damaged: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, data):
        return cls(
            slots=SlotState(**data["slots"]),
            installed=tuple(Release.from_dict(release) for release in data["installed"]),
            foreign=tuple(data["foreign"]),
            leftovers=tuple(data["leftovers"]),
            stopped=data["stopped"],
            damaged=tuple(data["damaged"]),
        )

    def as_dict(self):
        return asdict(self)

    @property
    def versions(self):
        return [release.version for release in self.installed]

    def find(self, **wanted):
        """Return the installed release whose fields are ``wanted``, or ``None``."""
        matching = (r for r in self.installed if all(getattr(r, name) == value for name, value in wanted.items()))
        return next(matching, None)

    def find_whole(self, **wanted):
        """Return the installed release whose fields are ``wanted``, ``None`` also where its files are damaged."""
        found = self.find(**wanted)
        return None if found is None or found.version in self.damaged else found

    def summary(self):
        """Return what a diff shows."""
        return {
            "versions": self.versions,
            **asdict(self.slots),
            "incomplete": sorted(self.foreign + self.leftovers),
            **({"damaged": list(self.damaged)} if self.damaged else {}),
        }


@dataclass(frozen=True)
class Machine:
    """The host itself. ``free_bytes``: where the install directory is, or will be.
    ``system_erts``: ERTS version of the ``erl`` on PATH, ``None`` without one."""

    name: str
    architecture: str
    free_bytes: int
    system_erts: str | None


@dataclass(frozen=True)
class Plan:
    """From one state to another, for the sake of one version; ``release`` is ``None`` when that version goes."""

    before: State
    after: State
    version: str
    release: Release | None = None

    @property
    def installs(self):
        return self.release is not None and self.before.find_whole(sha256=self.release.sha256) is None

    @property
    def repairs(self):
        """Whether what is installed is the same release, with damaged files."""
        return self.replaced is not None and self.replaced.sha256 == self.release.sha256

    @property
    def replaced(self):
        """The installed :class:`Release` of this version that another archive of it takes the place of, or ``None``."""
        return self.before.find(version=self.version) if self.installs else None

    @property
    def removed(self):
        """Names in ``releases`` that go."""
        before = self.before.versions + list(self.before.foreign)
        return [name for name in before if name not in self.after.versions and name not in self.after.foreign]

    def result(self, install_dir):
        """Return what the module reports, in check mode or not."""
        before, after = self.before.summary(), self.after.summary()
        if self.replaced and not self.repairs:
            before["sha256"], after["sha256"] = self.replaced.sha256, self.release.sha256
        result = {
            "changed": self.before != self.after,
            "version": self.version,
            **asdict(self.after.slots),
            "staged": self.after.slots.next == self.version,
            "pruned": [name for name in self.removed if name != self.version],
            "release_dir": f"{install_dir}/releases/{self.version}",
            "diff": {"before": before, "after": after},
        }
        if self.release:
            result.update(
                erts=self.release.erts,
                erts_included=self.release.erts_included,
                sha256=self.release.sha256,
                replaced=self.replaced.sha256 if self.replaced else None,
                repaired=self.repairs,
            )
        return result


def plan_present(state, release, stage, keep, version=None, service="erlmcp"):
    """Plan that ``release`` is installed and, with ``stage``, waits for the next restart.

    :param keep: number of versions to keep besides those that the links point to; 0 keeps all.
    :param version: what the release must be, if given.
    :param service: the node's unit, for messages.
    :raises OpsError: when it may not be installed.
    """
    if keep < 0:
        raise OpsError(f"keep: {keep} is no number of versions; 0 keeps all", kind="option")
    if version and version != release.version:
        raise OpsError(
            f"{release.archive} is release {release.version}, but version asks for {version}: correct src or version",
            kind="archive",
        )
    after = replace(state, leftovers=())
    if stage:
        after = replace(after, slots=_staged(state.slots, release.version))
    plan = Plan(state, after, release.version, release)
    if not plan.installs:
        return plan
    if plan.replaced and not plan.repairs:
        _refuse_replacing(state, plan.replaced, release, service)
    elif not plan.replaced:
        _refuse_foreign(state, release)
    after = replace(after, damaged=tuple(name for name in state.damaged if name != release.version))
    installed = (*(there for there in state.installed if there is not plan.replaced), release)
    if keep:
        installed = _kept(installed, after.slots.kept, keep)
    return replace(plan, after=replace(after, installed=installed))


def plan_absent(state, version):
    """Plan that ``version`` is not there. Raises OpsError when a node runs it, or will at its next restart."""
    check_version(version)
    for link in ("current", "next"):
        if getattr(state.slots, link) == version:
            raise OpsError(
                f"release {version} is {link}, so it stays: change to another one first (playbook upgrade or rollback)",
                kind="in_use",
            )
    slots = state.slots if state.slots.previous != version else replace(state.slots, previous=None)
    after = State(
        slots=slots,
        installed=tuple(release for release in state.installed if release.version != version),
        foreign=tuple(name for name in state.foreign if name != version),
        damaged=tuple(name for name in state.damaged if name != version),
    )
    return Plan(state, after, version)


def check_hooks(release, start_hooks):
    """Return warnings; raise OpsError when the node could not start for hooks that the archive lacks.

    :param start_hooks: whether the start script runs its hooks.
    """
    if not release.missing_hooks:
        return []
    problem = (
        f"{release.archive}: the start script of release {release.version} runs {', '.join(release.missing_hooks)} "
        "before it starts Erlang, and the archive has no such file"
    )
    if not start_hooks:
        return [f"{problem}. No hook is run, as erlmcp_start_hooks_enabled: false says"]
    raise OpsError(
        f"{problem}, so the node would end without a word: build the release with the hooks (an overlay in "
        "rebar.config), or set erlmcp_start_hooks_enabled: false to run none",
        kind="hooks",
        missing=list(release.missing_hooks),
    )


def check_machine(release, machine, install_dir, check_mode):
    """Return warnings; raise OpsError when ``release`` cannot be installed, or could not run, on ``machine``."""
    where = f"host {machine.name}"
    if release.architecture and not _runs(machine.architecture, release.architecture):
        raise OpsError(
            f"{release.archive} brings an Erlang runtime for {release.architecture}, and {where} is "
            f"{machine.architecture}: build the release for {machine.architecture}",
            kind="architecture",
        )
    needed = release.size + SPARE_BYTES
    if needed > machine.free_bytes:
        raise OpsError(
            f"{release.archive} needs {_mib(needed)} MiB for {install_dir} on {where}, where {_mib(machine.free_bytes)}"
            " MiB are free: remove releases that no node needs (playbook remove_release), or enlarge the file system",
            kind="space",
        )
    if release.erts_included or machine.system_erts == release.erts:
        return []
    problem = (
        f"{release.archive} has no Erlang runtime inside and needs ERTS {release.erts}, but {where} has "
        f"{'no erl on PATH' if machine.system_erts is None else f'ERTS {machine.system_erts}'}: install the package "
        f"erlang-base (Debian) or erlang-erts (Fedora) with ERTS {release.erts}, or build with {{include_erts, true}}"
    )
    if machine.system_erts is None and check_mode:
        # A role installs it before the real run gets here.
        return [problem]
    raise OpsError(problem, kind="erts")


def _staged(slots, version):
    """What ``Slots.stage`` does."""
    return replace(slots, next=None if slots.current == version else version)


def _kept(installed, protected, number):
    others = [release.version for release in installed if release.version not in protected]
    kept = protected.union(others[-number:])
    return tuple(release for release in installed if release.version in kept)


def _refuse_foreign(state, release):
    if release.version in state.foreign:
        raise OpsError(
            f"releases/{release.version} exists, but erlmcp.ops.release did not lay it down: move it away, or remove "
            f"it with the playbook remove_release (-e erlmcp_release_removed={release.version})",
            kind="immutable",
        )


def _refuse_replacing(state, there, release, service):
    """A release is immutable once a node was healthy with it; until then a rebuild takes its place."""
    what = (
        f"{release.archive} (sha256 {release.sha256}) is release {release.version}, which is installed from "
        f"another archive ({there.archive}, sha256 {there.sha256})"
    )
    if there.proven:
        raise OpsError(
            f"{what}. Releases are immutable: build a new version, or remove this one with the playbook "
            "remove_release first, if it is not current",
            kind="immutable",
        )
    if release.version == state.slots.current and not state.stopped:
        raise OpsError(
            f"{what}. No node was healthy with that one here, but it is current and may be running: stop it on this "
            f"host (systemctl stop {service}), then run again",
            kind="in_use",
        )


def _runs(machine, architecture):
    machine = {"amd64": "x86_64", "arm64": "aarch64", "ppc64le": "ppc64"}.get(machine, machine)
    if machine.startswith("armv"):
        machine = "arm"
    elif machine in ("i486", "i586", "i686"):
        machine = "i386"
    return architecture == machine or architecture in _ALSO_RUNS.get(machine, ())


def _mib(size):
    return -(-size // 1024**2)
