# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A snapshot of test hosts that was made of anything else than what is here now is never used."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "molecule" / "shared"))

from hostlib import inventory, lifecycle, snapshots
from hostlib.inventory import Host
from hostlib.machine import HostsError, remove_tree

HOSTS = (Host("n1.x.test", "10.83.99.1", "bookworm", "image-1"), Host("n2.x.test", "10.83.99.2", "bookworm", "image-1"))
INVENTORY = "all: {children: {erlmcp: {hosts: {n1.x.test: {}, n2.x.test: {}}, vars: {erlmcp_cluster_name: x}}}}\n"


@pytest.fixture(name="root")
def _root(tmp_path, monkeypatch):
    """A collection with one scenario, releases, and two hosts that were shut down."""
    collection, cache = tmp_path / "collection", tmp_path / "cache"
    for name, text in {
        "collection/galaxy.yml": "version: 0.1.0\n",
        "collection/meta/runtime.yml": "---\n",
        "collection/playbooks/a.yml": "[]\n",
        "collection/molecule/shared/hostlib/lifecycle.py": "",
        "collection/roles/a/tasks/main.yml": "[]\n",
        "collection/plugins/modules/a.py": "",
        "collection/README.md": "",
        "collection/variables/all.yml": "a: 1\n",
        "collection/molecule/x/converge.yml": "[]\n",
        "collection/molecule/x/inventory/hosts.yml": INVENTORY,
        "cache/releases/1/erlmcp.tar.gz": "",
        "cache/releases/2/erlmcp.tar.gz": "",
        "cache/cookies/x": "cookie",
        "cache/cookies/y": "of another cluster",
        "cache/pki/n1.x.test/ca/issuer.pem": "issuer",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (collection / "molecule/x/inventory/group_vars").symlink_to("../../../variables")
    (cache / "releases/current").symlink_to("1")
    monkeypatch.setattr(snapshots, "CACHE", cache)
    monkeypatch.setattr(snapshots, "KEY", cache / "ssh/id_ed25519")
    monkeypatch.setattr(snapshots, "SNAPSHOTS", cache / "snapshots")
    monkeypatch.setattr(snapshots, "COLLECTION", collection)
    monkeypatch.setattr(inventory, "HOSTS", cache / "hosts")
    for host in HOSTS:
        host.upper.mkdir(parents=True)
        (host.upper / "what-it-wrote").write_text(host.name)
        host.save()
    return tmp_path


def snapshot(root, hosts=HOSTS):
    return snapshots.Snapshot(root / "collection/molecule/x/inventory/hosts.yml", hosts)


def test_what_was_made_of_the_same_is_used(root):
    assert not snapshot(root).exists()
    snapshot(root).take()
    assert snapshot(root).exists()
    assert [(snapshot(root).layer(host) / "what-it-wrote").read_text() for host in HOSTS] == [h.name for h in HOSTS]
    # It is not part of what runs.
    (root / "collection/README.md").write_text("new")
    assert snapshot(root).exists()


def write(name, text="changed"):
    return lambda root: (root / name).write_text(text)


def another_release(root):
    (root / "cache/releases/current").unlink()
    (root / "cache/releases/current").symlink_to("2")


def another_key(root):
    (root / "cache/ssh").mkdir()
    (root / "cache/ssh/id_ed25519").touch()
    (root / "cache/ssh/id_ed25519.pub").write_text("another one")


CHANGES = {
    "a task": write("collection/roles/a/tasks/main.yml"),
    "a module": write("collection/plugins/modules/a.py"),
    "a file more": write("collection/plugins/modules/b.py"),
    "the version": write("collection/galaxy.yml"),
    "another release": another_release,
    "a variable of all scenarios": write("collection/variables/all.yml"),
    "a variable of the inventory": write(
        "collection/molecule/x/inventory/hosts.yml", INVENTORY.replace("n1.x.test: {}", "n1.x.test: {a: 1}")
    ),
    "another ssh key": another_key,
    "how hosts are made": write("collection/molecule/shared/hostlib/lifecycle.py"),
    "what provisions": write("collection/molecule/x/converge.yml"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_was_made_of_something_else_is_refused_before_a_host_is_touched(root, change):
    snapshot(root).take()
    change(root)
    assert not snapshot(root).exists()
    with pytest.raises(HostsError, match="no snapshot of .* as it is now"):
        lifecycle.restore(snapshot(root), HOSTS, 0)
    assert all(host.directory.exists() for host in HOSTS)


@pytest.mark.parametrize(
    "hosts",
    [HOSTS[:1], (HOSTS[0], Host("n2.x.test", "10.83.99.2", "trixie", "image-2"))],
    ids=["fewer hosts", "another image"],
)
def test_other_hosts_have_none(root, hosts):
    snapshot(root).take()
    assert not snapshot(root, hosts).exists()


def test_one_that_was_not_finished_is_none(root, monkeypatch):
    monkeypatch.setattr(snapshots, "copy", lambda *_arguments: pytest.fail("killed"))
    with pytest.raises(pytest.fail.Exception):
        snapshot(root).take()
    assert not snapshot(root).exists()
    # Nor are its hosts what they were.
    assert inventory.recorded_hosts() == []
    snapshots.forget_unfinished()
    assert list((root / "cache/snapshots").iterdir()) == []


def test_cookie_and_ca_of_the_control_node_come_back_and_those_of_others_stay(root):
    snapshot(root).take()
    cookies = root / "cache/cookies"
    (cookies / "x").write_text("rotated")
    (cookies / "x.next").write_text("half-way")
    (cookies / "y").write_text("rotated too")
    (root / "cache/pki/n1.x.test/ca/issuer.pem").write_text("another one")
    (root / "cache/pki/n2.x.test").mkdir()
    snapshot(root).put_back_controller_files()
    assert {path.name: path.read_text() for path in cookies.iterdir()} == {"x": "cookie", "y": "rotated too"}
    assert (root / "cache/pki/n1.x.test/ca/issuer.pem").read_text() == "issuer"
    assert not (root / "cache/pki/n2.x.test").exists()


def test_hosts_have_again_what_they_had(root):
    snapshot(root).take()
    for host in HOSTS:
        remove_tree(host.directory)
        snapshot(root).put_back(host)
    assert [(host.upper / "what-it-wrote").read_text() for host in HOSTS] == [host.name for host in HOSTS]
    assert inventory.recorded_hosts() == list(HOSTS)
    (HOSTS[0].upper / "what-it-wrote").write_text("changed")
    assert (snapshot(root).layer(HOSTS[0]) / "what-it-wrote").read_text() == HOSTS[0].name


def test_only_hosts_that_were_made_of_what_is_here_now_are_kept(root):
    """Else a collection that was changed in between would find what another one has provisioned."""
    assert not snapshot(root).is_due()
    snapshot(root).mark_fresh()
    assert snapshot(root).is_due()
    write("collection/roles/a/tasks/main.yml")(root)
    assert not snapshot(root).is_due()


def test_what_systemd_would_catch_up_on_is_forgotten(root):
    stamp = HOSTS[0].upper / "var/lib/systemd/timers/stamp-erlmcp-backup.timer"
    stamp.parent.mkdir(parents=True)
    stamp.touch()
    snapshot(root).take()
    assert not (snapshot(root).layer(HOSTS[0]) / "var/lib/systemd/timers").exists()
