# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Completed
from ansible_collections.erlmcp.ops.plugins.module_utils._core.slots import Slots
from ansible_collections.erlmcp.ops.plugins.module_utils._release import actions
from ansible_collections.erlmcp.ops.plugins.module_utils._release.proof import note_proven
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._release.release_archives import (
    hooked_entries,
    pack,
    release_entries,
)

MACHINE = {"x86_64": 62, "aarch64": 183}.get(os.uname().machine, 62)


class NoErl:
    """A host without Erlang, on which the node's unit is in a state."""

    def __init__(self, unit="active"):
        self._unit = unit

    def run(self, argv):
        if argv[:3] == ["systemctl", "show", "erlmcp.service"]:
            return Completed(0, f"ActiveState={self._unit}\n", "")
        raise OpsError(f"command not found: {argv[0]}")


@pytest.fixture
def call(tmp_path):
    """Calls the module's action with the defaults of its options."""

    def call(check_mode=False, unit="active", **options):
        defaults = {
            "src": None,
            "remote_src": True,
            "checksum": None,
            "version": None,
            "install_dir": str(tmp_path / "opt"),
            "release_name": "erlmcp",
            "stage": True,
            "keep": 3,
            "service": "erlmcp",
            "start_hooks": True,
            "state": "present",
            "archive_sha256": None,
        }
        warnings = []
        module = SimpleNamespace(params={**defaults, **options}, check_mode=check_mode, warn=warnings.append)
        return {**actions.release(module, NoErl(unit)), "warned": warnings}

    return call


@pytest.fixture
def made(tmp_path):
    def made(version="1.0.0", **options):
        path = tmp_path / f"erlmcp-{version}.tar.gz"
        pack(path, release_entries(version, machine=MACHINE, **options))
        return str(path)

    return made


def info(tmp_path):
    return actions.release_info(SimpleNamespace(params={"install_dir": str(tmp_path / "opt")}))


def test_check_mode_predicts_and_changes_nothing(call, made, tmp_path):
    predicted = call(src=made(), check_mode=True)
    assert not (tmp_path / "opt").exists()
    assert predicted["changed"]
    assert call(src=made()) == predicted


def test_a_second_run_changes_nothing(call, made, monkeypatch):
    first = call(src=made())
    monkeypatch.setattr(actions, "read_release", None)
    second = call(src=made())
    assert (first["changed"], second["changed"]) == (True, False)
    assert {**second, "changed": True, "diff": first["diff"]} == first


def test_an_installed_archive_is_found_by_its_hash(call, made):
    first = call(src=made(), stage=False)
    second = call(archive_sha256=first["sha256"])
    assert (second["changed"], second["next"]) == (True, "1.0.0")


def test_an_archive_that_is_not_installed_is_asked_for(call, tmp_path):
    answer = call(archive_sha256="0" * 64)
    assert answer["needs_archive"]
    assert answer["machine"]["architecture"] == os.uname().machine
    assert not answer["state"]["installed"]
    assert not (tmp_path / "opt").exists()


def test_an_installed_version_is_staged_without_an_archive(call, made):
    call(src=made("1.0.0"))
    call(src=made("2.0.0"))
    assert call(version="1.0.0")["next"] == "1.0.0"
    with pytest.raises(OpsError, match="release 3.0.0 is not installed"):
        call(version="3.0.0")


@pytest.fixture
def healthy(tmp_path):
    """Lets the release that waits be current, with a healthy node if that is noted."""

    def healthy(noted=True):
        slots = Slots(str(tmp_path / "opt"), "releases")
        slots.activate()
        if noted:
            note_proven(slots)

    return healthy


def test_releases_are_immutable(call, made, healthy):
    call(src=made())
    healthy()
    with pytest.raises(OpsError, match="immutable"):
        call(src=made(note="other"))
    call(src=made("2.0.0"))
    healthy()
    call(state="absent", version="1.0.0")
    assert call(src=made(note="other"))["changed"]


def test_until_a_node_was_healthy_a_rebuild_replaces(call, made):
    first = call(src=made())
    path = made(note="rebuilt")
    predicted = call(src=path, check_mode=True)
    assert predicted["replaced"] == first["sha256"]
    assert call(src=made()) == first | {"changed": False, "diff": {**first["diff"], "before": first["diff"]["after"]}}
    path = made(note="rebuilt")
    assert call(src=path) == predicted


@pytest.mark.parametrize("unit", ["active", "activating", "deactivating", "failed", "inactive"])
def test_the_current_release_is_replaced_below_a_stopped_node_only(call, made, healthy, unit):
    call(src=made())
    healthy(noted=False)
    path = made(note="rebuilt")
    for check_mode in (True, False):
        if unit in ("failed", "inactive"):
            assert call(src=path, unit=unit, check_mode=check_mode)["replaced"]
        else:
            with pytest.raises(OpsError, match="may be running"):
                call(src=path, unit=unit, check_mode=check_mode)


def test_the_checksum_is_that_of_the_archive(call, made, tmp_path):
    with pytest.raises(OpsError, match="hashes to"):
        call(src=made(), checksum="sha256:" + "0" * 64)
    assert not (tmp_path / "opt").exists()


def test_a_release_without_its_start_hooks(call, tmp_path):
    path = tmp_path / "hooked.tar.gz"
    pack(path, hooked_entries("hooks/mine", machine=MACHINE))
    for check_mode in (True, False):
        with pytest.raises(OpsError, match="runs bin/hooks/mine before it starts Erlang"):
            call(src=str(path), check_mode=check_mode)
    assert not (tmp_path / "opt").exists()
    done = call(src=str(path), start_hooks=False)
    assert done["changed"]
    assert "bin/hooks/mine" in done["warned"][0]
    assert call(src=str(path), start_hooks=False)["warned"] == []
    with pytest.raises(OpsError, match="bin/hooks/mine"):
        call(version="1.0.0")


def test_a_missing_archive(call, tmp_path):
    with pytest.raises(OpsError, match="there is no archive"):
        call(src=str(tmp_path / "none.tar.gz"))


def test_without_erlang(call, made, tmp_path):
    with pytest.raises(OpsError, match="no erl on PATH"):
        call(src=made(included=False))
    assert not (tmp_path / "opt").exists()
    predicted = call(src=made(included=False), check_mode=True)
    assert predicted["changed"]
    assert "no erl on PATH" in predicted["warned"][0]


def test_info_of_an_empty_host(tmp_path):
    assert info(tmp_path) == {
        "changed": False,
        "versions": [],
        "current": None,
        "next": None,
        "previous": None,
        "incomplete": [],
    }


def test_info(call, made, tmp_path):
    call(src=made())
    (tmp_path / "opt/releases/.staging-1").mkdir()
    (tmp_path / "opt/releases/0.9.0").mkdir()
    found = info(tmp_path)
    assert [version["version"] for version in found["versions"]] == ["1.0.0"]
    assert found["versions"][0]["erts_included"]
    assert found["next"] == "1.0.0"
    assert found["incomplete"] == [".staging-1", "0.9.0"]
