# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.erlmcp.ops.plugins.module_utils._config.contract import contract_problems

GOOD = {
    "erlmcp_mcp_port": 5005,
    "erlmcp_http_port": "8080",
    "erlmcp_metrics_port": 9090,
    "erlmcp_distribution_port": 9100,
    "erlmcp_install_dir": "/opt/erlmcp",
    "erlmcp_config_dir": "/etc/erlmcp",
    "erlmcp_data_dir": "/var/lib/erlmcp/data",
    "erlmcp_home_dir": "/var/lib/erlmcp",
    "erlmcp_log_dir": "/var/log/erlmcp",
    "erlmcp_user": "erlmcp",
    "erlmcp_group": "erlmcp",
    "erlmcp_cookie": "abcdefghijklmnopqrst_-12",
}
NODES = {"n1": "erlmcp@n1.example.com", "n2": "erlmcp@n2.example.com"}


def test_a_good_contract_has_no_problems():
    assert contract_problems(GOOD, NODES) == []
    assert contract_problems({**GOOD, "erlmcp_cookie": None, "erlmcp_metrics_port": 8080}, NODES) == []
    off = {"erlmcp_http_enabled": False, "erlmcp_http_port": 5005}
    assert contract_problems({**GOOD, **off}, NODES) == []
    short = {"erlmcp_node_name_type": "short"}
    assert contract_problems({**GOOD, **short}, {"n1": "erlmcp@n1"}) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"erlmcp_mcp_port": 0}, "erlmcp_mcp_port is 0: set it to a port from 1 to 65535"),
        ({"erlmcp_mcp_port": 65536}, "erlmcp_mcp_port is 65536: "),
        ({"erlmcp_mcp_port": True}, "erlmcp_mcp_port is True: "),
        ({"erlmcp_mcp_port": "http"}, "erlmcp_mcp_port is 'http': "),
        ({"erlmcp_mcp_port": 8080}, "erlmcp_mcp_port and erlmcp_http_port are both 8080: give one of them"),
        ({"erlmcp_distribution_port": 9090}, "erlmcp_metrics_port and erlmcp_distribution_port are both 9090: "),
        ({"erlmcp_run_dir": ""}, "erlmcp_run_dir is '': set it to an absolute path"),
        ({"erlmcp_run_dir": "run"}, "erlmcp_run_dir is 'run': set it to an absolute path"),
        ({"erlmcp_run_dir": "/run/a b"}, "erlmcp_run_dir is '/run/a b': set it to a path without white space"),
        ({"erlmcp_run_dir": "/run/erlmcp/"}, "erlmcp_run_dir is '/run/erlmcp/': write it as '/run/erlmcp'"),
        ({"erlmcp_run_dir": "/run/x/../y"}, "erlmcp_run_dir is '/run/x/../y': write it as '/run/y'"),
        ({"erlmcp_data_dir": "/"}, "erlmcp_data_dir is '/': set it to a directory of its own"),
        ({"erlmcp_data_dir": "//"}, "erlmcp_data_dir is '//': set it to a directory of its own"),
        ({"erlmcp_data_dir": "/var/lib"}, "erlmcp_data_dir is '/var/lib': set it to a directory of its own"),
        ({"erlmcp_log_dir": "/var/log/x/.."}, "erlmcp_log_dir is '/var/log/x/..': set it to a directory of its own"),
        ({"erlmcp_data_dir": "/var/lib/erlmcp"}, "erlmcp_data_dir and erlmcp_home_dir are both '/var/lib/erlmcp': "),
        ({"erlmcp_data_dir": "/opt/erlmcp/data"}, "erlmcp_data_dir is '/opt/erlmcp/data', inside erlmcp_install_dir: "),
        ({"erlmcp_user": "root"}, "erlmcp_user is 'root': set it to an account of the node's own"),
        ({"erlmcp_user": "Erl Mcp"}, "erlmcp_user is 'Erl Mcp': set it to lower-case letters"),
        ({"erlmcp_group": "1x"}, "erlmcp_group is '1x': "),
        ({"erlmcp_cookie": "erlmcp"}, "erlmcp_cookie is the well-known default"),
    ],
)
def test_a_problem_names_variable_value_and_action(change, problem):
    found = contract_problems({**GOOD, **change}, NODES)
    assert len(found) == 1
    assert found[0].startswith(problem)


def test_each_secret_of_the_example_is_refused_until_it_is_replaced():
    group = Path(__file__).parents[5] / "inventory/example/group_vars/erlmcp"
    passphrase = re.search(r"passphrase is `(\w+)`", (group / "vars.yml").read_text(encoding="utf-8"))[1]
    vault = VaultLib([("default", VaultSecret(passphrase.encode()))])
    secrets = yaml.safe_load(vault.decrypt((group / "vault.yml").read_bytes()))
    assert secrets
    for name, value in secrets.items():
        variable = name.removeprefix("vault_")
        (problem,) = contract_problems({variable: value}, {})
        assert problem.startswith(f"{variable} is {value}, the placeholder in the example's vault.yml: ")
        assert "ansible-vault rekey" in problem


@pytest.mark.parametrize("cookie", ["tooshort", "secret#secret#secret#secret", "x" * 256, ""])
def test_a_bad_cookie_is_not_shown(cookie):
    (problem,) = contract_problems({"erlmcp_cookie": cookie}, {})
    assert problem.startswith("erlmcp_cookie (not shown) is too short, too long or has other characters: ")
    assert not cookie or cookie not in problem


@pytest.mark.parametrize(
    "time",
    [
        "*-*-* 02:30",
        "daily",
        "Sat,Thu,Mon..Wed,Sat..Sun",
        "Mon,Sun 12-*-* 2,1:23",
        "Wed *-1",
        "Wed, 17:48",
        "Wed..Sat,Tue 12-10-15 1:2:3",
        "monday *-12-* 17:00",
        "12,14,13,12:20,10,30",
        "mon,fri *-1/2-1,3 *:30:45",
        "03-05",
        "2003-02..04-05",
        "2003-03-05 05:40 UTC",
        "weekly UTC",
        "*-*~1",
        "*:0/15",
        "Sat *-*-1..7 18:00",
        "02:30 Europe/Berlin",
        "@1395716396",
        "05:40:23.4200004/3.1700005",
    ],
)
def test_a_time_of_systemd_is_no_problem(time):
    assert contract_problems({"erlmcp_backup_schedule": time}, {}) == []


@pytest.mark.parametrize(
    "time",
    [
        "sometimes",
        "",
        "*-*-* 25:00",
        "*-*-* 02:60",
        "02:30 daily",
        "2:30am",
        "*-13-* 02:00",
        "30 2 * * *",
        "@daily",
        "1d",
        "*-*-32",
        "*-*-*\n02:30",
    ],
)
def test_what_is_no_time_of_systemd_is_told_with_one_that_is(time):
    (problem,) = contract_problems({"erlmcp_backup_schedule": time}, {})
    assert problem.startswith(f"erlmcp_backup_schedule is {time!r}: set it to a time of systemd, like *-*-* 02:30")


def test_two_hosts_with_one_node_name_are_both_named():
    (problem,) = contract_problems({}, {"n1": "e@x.y", "n2": "e@x.y", "n3": "e@z.y"})
    assert problem == "n1 and n2 have the same node name 'e@x.y': set erlmcp_node_name or erlmcp_node_host"


def test_a_bad_node_name_names_its_host():
    (problem,) = contract_problems({}, {"n1": "e@x"})
    assert problem.startswith("n1: 'e@x' is no Erlang node name (erlmcp_node_name): a long name needs")
