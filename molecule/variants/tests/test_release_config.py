# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a release brings in its own vm.args and sys.config is told, and taken over where that is wanted."""

from __future__ import annotations

from pathlib import Path

import pytest
from testlib import Hosts, play, ssh

BARE = Hosts(Path(__file__).parents[1], "erlmcp", "bare")
FIRST = next(iter(BARE))
LIMIT = ["--limit", FIRST]
BRINGS = "release 0.6.0 brings -heart, +P 500000, +t 2000000 in its vm.args and erlmcp (1 key), telemetry (1 key)"
HEART = "-heart of the vm.args of release 0.6.0 stays out: systemd restarts the node"
BOTH = ["--limit", "bare"]


def evaluate(text):
    return ssh(BARE[FIRST], f"erlmcp eval '{text}'").stdout.strip()


def said(done):
    return " ".join(done.output.split())


def laid_down(done):
    """Return the hosts whose config set was, or would have been, laid down."""
    return {host for host, task in done.changed if task.endswith("Ensure the config set is laid down")}


def test_it_is_told_before_the_first_deployment():
    elsewhere = {"erlmcp_install_dir": "/opt/another", "erlmcp_config_dir": "/etc/another"}
    options = [*BOTH, "--tags", "erlmcp_release,erlmcp_node", "--check", "--diff"]
    done = play("erlmcp.ops.site", BARE, elsewhere, options)
    assert done.rc == 0, done.messages
    assert BRINGS in said(done)
    assert HEART in said(done)
    assert "sys.config: telemetry exporter" in said(done)


def test_what_is_known_is_not_told_again():
    done = play("erlmcp.ops.site", BARE, options=LIMIT)
    assert done.rc == 0, done.messages
    assert not done.changed
    assert "brings" not in said(done)


def test_it_is_merged_below_what_the_node_has_and_heart_stays_out():
    variables = {"erlmcp_node_config_base": "release", "erlmcp_node_process_limit": 200000}
    try:
        predicted = play("erlmcp.ops.site", BARE, variables, [*BOTH, "--check", "--diff"])
        assert predicted.rc == 0, predicted.messages
        done = play("erlmcp.ops.site", BARE, variables, BOTH)
        assert done.rc == 0, done.messages
        assert laid_down(done) == laid_down(predicted) == set(BARE)
        assert evaluate("erlang:system_info(atom_limit).") == "2000000"
        assert evaluate("erlang:system_info(process_limit).") == "262144"
        assert ssh(BARE[FIRST], "grep -c ^+P /etc/erlmcp/vm.args").stdout == "1\n"
        assert evaluate("application:get_env(erlmcp, banner).") == '{ok, "from the release"}'
        assert evaluate("whereis(heart).") == "undefined"
        again = play("erlmcp.ops.site", BARE, variables, BOTH)
        assert again.rc == 0, again.messages
        assert not again.changed
    finally:
        restored = play("erlmcp.ops.site", BARE, options=BOTH)
    assert restored.rc == 0, restored.messages
    assert evaluate("erlang:system_info(atom_limit).") == "1048576"


@pytest.mark.parametrize(
    "variables", [{"erlmcp_node_vm_args": {"-heart": None}}, {"erlmcp_node_environment": {"ERL_ZFLAGS": "-heart"}}]
)
@pytest.mark.parametrize("options", [[], ["--check"]], ids=["run", "check"])
def test_heart_is_refused_before_anything_changes(variables, options):
    done = play("erlmcp.ops.site", BARE, variables, [*LIMIT, *options])
    assert done.rc != 0
    assert "systemd restarts the node, and heart would start a second one beside it" in said(done)
    assert "erlmcp_node_unit_settings" in said(done)
    assert not done.changed
