# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module check_variables, in real runs of Ansible."""

from __future__ import annotations

import json
import subprocess

import pytest

PROBLEMS = {"first": ["a is wrong: correct a"], "second": [], "third": ["b is wrong: correct b"]}


@pytest.fixture(name="check")
def _check(tmp_path):
    """Function that runs the task with these variables; returns exit status and output."""

    def check(options, **variables):
        task = {"erlmcp.ops.check_variables": options}
        plays = [{"hosts": "localhost", "gather_facts": False, "vars": {**PROBLEMS, **variables}, "tasks": [task]}]
        (tmp_path / "play.yml").write_text(json.dumps(plays))
        command = ["ansible-playbook", "play.yml", "-vvv"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    return check


def test_variables_of_the_right_types_without_problems_pass(check):
    options = {"roles": ["erlmcp", "erlmcp_node"], "problems": ["second"]}
    status, output = check(options, erlmcp_mcp_port="5005", erlmcp_node_config_keep=3)
    assert status == 0, output


def test_all_problems_are_told_together(check):
    status, output = check({"problems": ["first", "second", "third"]})
    assert status != 0
    assert "a is wrong: correct a" in output
    assert "b is wrong: correct b" in output


@pytest.mark.parametrize("name", ["erlmcp_mcp_port", "erlmcp_node_config_keep"])
def test_a_wrong_type_is_named_before_problems_are_looked_at_and_no_secret_is_shown(check, name):
    options = {"roles": ["erlmcp", "erlmcp_node"], "problems": ["first"]}
    status, output = check(options, **{name: "many"}, erlmcp_cookie="hush-hush-hush-hush")
    assert status != 0
    assert name in output
    assert "a is wrong" not in output
    assert "hush" not in output


def test_a_text_is_no_list_and_no_dictionary_but_may_be_a_boolean_or_a_number(check):
    options = {"roles": ["erlmcp", "erlmcp_node"]}
    texts = {"erlmcp_firewall_client_addresses": "10.0.0.8", "erlmcp_node_config_secrets": "hush"}
    status, output = check(options, erlmcp_node_environment="A=1", **texts)
    assert status != 0
    assert "erlmcp_firewall_client_addresses is a text: write it as a list, in the inventory or with -e " in output
    assert "erlmcp_node_config_secrets is a text: write it as a list" in output
    assert "erlmcp_node_environment is a text: write it as a dict" in output
    assert "hush" not in output
    status, output = check(options, erlmcp_tls_enabled="no", erlmcp_mcp_port="5005", erlmcp_cluster_leaving="a,b")
    assert status == 0, output


def test_a_misspelt_variable_and_a_number_below_0_are_told_with_what_else_is_wrong(check):
    options = {"roles": ["erlmcp", "erlmcp_node"], "problems": ["first", "of_keep"]}
    numbers = {"erlmcp_node_stop_seconds": "-1", "erlmcp_node_config_keep": -2}
    wrong = {**numbers, "of_keep": ["erlmcp_node_config_keep is -2: some other words"], "erlmcp_node_vmargs": {}}
    status, output = check(options, **wrong)
    assert status != 0
    assert "a is wrong: correct a" in output
    assert "erlmcp_node_stop_seconds is -1: set it to 0 or more" in output
    assert "erlmcp_node_config_keep is -2: set" not in output
    assert "erlmcp_node_vmargs is no variable of the collection: write erlmcp_node_vm_args" in output


def test_a_misspelt_variable_of_a_role_that_is_not_checked_is_told_beside_a_wrong_type(check):
    status, output = check({"roles": ["erlmcp"]}, erlmcp_backup_keepdays=3, erlmcp_mcp_port="many")
    assert status != 0
    assert "erlmcp_backup_keepdays is no variable of the collection: write erlmcp_backup_keep_days" in output
    assert "erlmcp_mcp_port" in output
    status, output = check({"roles": ["erlmcp"]}, erlmcp_address="10.0.0.1", erlmcp_hosts="all", erlmcp_own=1)
    assert status == 0, output


REFUSING = {
    "made": "{{ {'A B': 'c'} | erlmcp.ops.to_env_sh }}",
    "of_names": "{{ [{'inventory_hostname': 'n1', 'erlmcp_node_host': 'a b'} | erlmcp.ops.node_name] }}",
    "unknown": "{{ nowhere | length }}",
}


def test_what_a_filter_refuses_is_a_problem_in_its_words(check):
    status, output = check({"problems": ["first"], "rendered": {"made": "erlmcp_node_environment"}}, **REFUSING)
    assert status != 0
    assert "a is wrong: correct a" in output
    assert "erlmcp_node_environment: 'A B' is no name of an environment variable: use letters" in output
    assert "filter plugin" not in output


def test_a_filter_that_refuses_within_a_list_of_problems_is_told_too(check):
    status, output = check({"problems": ["of_names", "first"]}, **REFUSING)
    assert status != 0
    assert "'a b' is no host name" in output
    assert "a is wrong: correct a" in output
    assert "filter plugin" not in output


def test_what_is_no_refusal_of_ours_stays_an_error_of_ansible(check):
    status, output = check({"rendered": {"unknown": "something"}}, **REFUSING)
    assert status != 0
    assert "nowhere" in output
