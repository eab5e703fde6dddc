# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook scale, on this machine as the hosts, and against a fake of Kubernetes' API server."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import yaml
from fake_kubernetes import NAME, NAMESPACE, fake_kubernetes

WANTED = {"erlmcp_scale_connections": 200000}


class Played:
    """What one run of the playbook reported."""

    def __init__(self, done):
        self.returncode = done.returncode
        self.output = done.stdout + done.stderr
        # Alone on its line: what modules print of themselves stands before it.
        start = done.stdout.find("{\n")
        report = json.loads(done.stdout[start:]) if start >= 0 else {"plays": [], "stats": {}}
        self.changed = sum(host["changed"] for host in report["stats"].values())
        self.results = {
            task["task"]["name"].rpartition(" : ")[2]: result
            for play in report["plays"]
            for task in play["tasks"]
            for result in task["hosts"].values()
        }

    @property
    def plan(self):
        return self.results["Show the plan"]["msg"]


@pytest.fixture(name="scale")
def _scale(tmp_path):
    inventory = tmp_path / "hosts.yml"
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory.write_text(json.dumps({"erlmcp": {"hosts": {"n1": local, "n2": local}}}))

    def run(variables, *options, inventory=inventory, **environment):
        command = [sys.executable, "-m", "ansible", "playbook", "-i", inventory, "erlmcp.ops.scale"]
        return Played(
            subprocess.run(
                [*command, "-e", json.dumps(variables), *options],
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
                env={
                    **os.environ,
                    "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
                    "ANSIBLE_NOCOLOR": "1",
                    "NO_PROXY": "127.0.0.1",
                    "no_proxy": "127.0.0.1",
                    # The client caches what it discovered there.
                    "TMPDIR": str(tmp_path),
                    **environment,
                },
            )
        )

    return run


@pytest.fixture(name="kubernetes")
def _kubernetes():
    with fake_kubernetes() as fake:
        yield fake


@pytest.fixture(name="pods")
def _pods(tmp_path, kubernetes):
    """Variables that reach the fake."""
    config = tmp_path / "kubeconfig"
    config.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "fake", "cluster": {"server": kubernetes.address}}],
                "users": [{"name": "nobody", "user": {}}],
                "contexts": [{"name": "it", "context": {"cluster": "fake", "user": "nobody"}}],
            }
        )
    )
    return {
        **WANTED,
        "erlmcp_scale_platform": "kubernetes",
        "erlmcp_scale_namespace": NAMESPACE,
        "erlmcp_scale_name": NAME,
        "erlmcp_scale_kubeconfig": str(config),
        "erlmcp_scale_context": "it",
        "erlmcp_scale_pod_cores": 4,
        "erlmcp_scale_pod_memory_mb": 8000,
    }


def test_hosts_are_planned_for_and_not_changed(scale):
    played = scale({"erlmcp_scale_connections": "90000", "erlmcp_scale_spare_node": "false"}, "--check")
    assert played.returncode == 0, played.output
    assert played.changed == 0
    assert played.plan[1].startswith("# Bigger nodes: 2 nodes, 45000 connections and ")
    assert yaml.safe_load("\n".join(played.plan))["erlmcp_load_balancer_maxconn"] == 91024
    assert "erlmcp.ops.site" in played.plan[-2]


@pytest.mark.parametrize("connections", [None, 0, -1])
def test_a_number_is_required(scale, connections):
    played = scale({} if connections is None else {"erlmcp_scale_connections": connections})
    assert played.returncode != 0
    assert f"erlmcp_scale_connections is {connections or 0}: say how many" in played.output


def test_a_bad_number_is_named(scale):
    played = scale({**WANTED, "erlmcp_scale_connection_memory_kb": 0})
    assert played.returncode != 0
    assert "erlmcp_scale_connection_memory_kb is 0: it has to be" in played.output


def test_kubernetes_gets_what_is_needed_once(scale, pods, kubernetes):
    played = scale(pods)
    assert played.returncode == 0, played.output
    assert played.changed == 1
    assert kubernetes.replicas == 5
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}/statefulsets/{NAME}/scale"
    assert [(method, where) for method, where, body in kubernetes.writes] == [("PATCH", path)]
    assert played.plan[-1] == f"# StatefulSet {NAME} in namespace {NAMESPACE}: 3 replicas now, 5 wanted."

    again = scale(pods)
    assert again.returncode == 0, again.output
    assert again.changed == 0
    assert len(kubernetes.writes) == 1


def test_check_mode_predicts_and_changes_nothing(scale, pods, kubernetes):
    played = scale(pods, "--check")
    assert played.returncode == 0, played.output
    assert played.changed == 1
    assert kubernetes.writes == []


def test_pods_are_not_taken_away_unless_that_is_allowed(scale, pods, kubernetes):
    fewer = {**pods, "erlmcp_scale_replicas": 2}
    refused = scale(fewer)
    assert refused.returncode != 0
    assert f"StatefulSet {NAME} in namespace {NAMESPACE} has 3 replicas, and 2 are wanted." in refused.output
    assert "erlmcp_scale_allow_shrink: true" in refused.output
    assert kubernetes.writes == []

    allowed = scale({**fewer, "erlmcp_scale_allow_shrink": True})
    assert allowed.returncode == 0, allowed.output
    assert kubernetes.replicas == 2


def test_a_deployment_in_an_inventory_without_nodes(scale, pods, kubernetes, tmp_path):
    kubernetes.kind = "Deployment"
    # As it stands in many an inventory, and would be connected to by ssh.
    inventory = tmp_path / "localhost.yml"
    inventory.write_text("all: {hosts: {localhost: }}\n")
    played = scale({**pods, "erlmcp_scale_kind": "Deployment", "erlmcp_scale_replicas": 4}, inventory=inventory)
    assert played.returncode == 0, played.output
    assert kubernetes.replicas == 4


def test_what_somebody_else_changed_meanwhile_is_left_alone(scale, pods, kubernetes):
    kubernetes.meanwhile = 8
    played = scale(pods)
    assert played.returncode != 0
    assert "was changed by somebody else meanwhile, and is left alone with 8: run this again" in played.output
    assert kubernetes.writes == []


def test_replicas_that_do_not_become_ready_are_a_failure(scale, pods, kubernetes):
    kubernetes.never_ready = True
    played = scale({**pods, "erlmcp_scale_wait_seconds": 1})
    assert played.returncode != 0
    assert "Resource scaling timed out" in played.output


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"erlmcp_scale_pod_memory_mb": 0}, "erlmcp_scale_pod_memory_mb is 0: set both"),
        ({"erlmcp_scale_name": "other"}, f"There is no StatefulSet other in namespace {NAMESPACE}"),
        ({"erlmcp_scale_kind": "Job"}, "erlmcp_scale_kind"),
        ({"erlmcp_scale_kubeconfig": "/nowhere/config"}, "/nowhere/config"),
    ],
    ids=["size of a pod", "unknown name", "kind", "kubeconfig"],
)
def test_bad_input_changes_nothing(scale, pods, kubernetes, variables, named):
    played = scale({**pods, **variables})
    assert played.returncode != 0
    assert named in played.output
    assert kubernetes.writes == []


def test_what_is_missing_on_the_control_node_is_named(scale, pods, tmp_path):
    without_collection = scale(
        pods, ANSIBLE_COLLECTIONS_SCAN_SYS_PATH="false", ANSIBLE_STDOUT_CALLBACK="ansible.builtin.default"
    )
    assert without_collection.returncode != 0
    assert "ansible-galaxy collection install kubernetes.core" in without_collection.output

    python = tmp_path / "python-without-packages"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    without_package = scale({**pods, "ansible_python_interpreter": str(python)})
    assert without_package.returncode != 0
    assert "Failed to import the required Python library (kubernetes)" in without_package.output
