# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.command import parser
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.fit import check_fit
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.versions import is_newer
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError

INSTALLED = {"release": "1.0.0", "erts": "13.1.5", "otp": "25", "applications": {}}


def manifest(node="erlmcp@a", members=("config", "data"), **versions):
    return {
        "id": "erlmcp-a-20261124T020000Z",
        "node": {"name": node, "name_type": "long"},
        "members": list(members),
        "versions": {**INSTALLED, **versions},
    }


def fit(manifest, node="erlmcp@a", node_map=None, members=("config", "data"), installed=None, **options):
    check_fit(manifest, node, node_map or {}, list(members), installed or INSTALLED, **options)


def test_its_own_archive_fits():
    fit(manifest())


def test_another_name_needs_a_map_and_the_message_writes_it():
    with pytest.raises(OpsError, match=r"node_map: \{erlmcp@a: erlmcp@b\}"):
        fit(manifest(), "erlmcp@b")
    fit(manifest(), "erlmcp@b", {"erlmcp@a": "erlmcp@b"}, members=["data"])


def refusal(*arguments, **options):
    with pytest.raises(OpsError) as refused:
        fit(*arguments, **options)
    return str(refused.value)


def on_the_host(message):
    """What the command line of the host makes of the option that a message names for it."""
    option = re.search(r"on the host (?:with )?(--[a-z-]+(?: \S+=\S+)?)", message)[1]
    return vars(parser().parse_args(["restore", "latest", *option.split()]))


def test_what_a_refusal_names_for_the_host_helps():
    node_map = dict(on_the_host(refusal(manifest(), "erlmcp@b", members=["data"]))["node_map"])
    fit(manifest(), "erlmcp@b", node_map, members=["data"])
    fit(manifest(), "erlmcp@b", node_map, on_the_host(refusal(manifest(), "erlmcp@b", node_map))["members"])
    newer = manifest(release="1.0.1")
    fit(newer, allow_newer=on_the_host(refusal(newer))["allow_newer"])


def test_a_map_to_somebody_else_does_not_help():
    with pytest.raises(OpsError, match="node_map says that erlmcp@a becomes erlmcp@c"):
        fit(manifest(), "erlmcp@b", {"erlmcp@a": "erlmcp@c"}, members=["data"])


def test_a_config_keeps_the_name_it_was_written_for():
    with pytest.raises(OpsError, match="restore the data only"):
        fit(manifest(), "erlmcp@b", {"erlmcp@a": "erlmcp@b"})


@pytest.mark.parametrize(("key", "version"), [("release", "1.0.1"), ("release", "1.10.0"), ("erts", "14.0")])
def test_what_a_newer_one_wrote_is_refused(key, version):
    with pytest.raises(OpsError, match="allow_newer"):
        fit(manifest(**{key: version}))
    fit(manifest(**{key: version}), allow_newer=True)


@pytest.mark.parametrize("version", ["0.9.9", "1.0.0", None])
def test_what_an_older_one_wrote_fits(version):
    fit(manifest(release=version))


def test_a_host_without_a_release_is_told():
    with pytest.raises(OpsError, match="run the playbook site"):
        fit(manifest(), installed={**INSTALLED, "release": None})


def test_a_member_that_is_not_there_is_named():
    with pytest.raises(OpsError, match="it has no config"):
        fit(manifest(members=["data"]))


@pytest.mark.parametrize(
    ("one", "other", "newer"),
    [("1.10.0", "1.9.3", True), ("1.0.0-rc1", "1.0.0", False), ("2", "1.9", True), ("1.0.0+b7", "1.0.0", False)],
)
def test_versions_are_numbers(one, other, newer):
    assert is_newer(one, other) is newer
