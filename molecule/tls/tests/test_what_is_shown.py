# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets that are known to the test are looked for wherever a run of any playbook may leave them.

The last tests of the scenario: they change the release and the members of the cluster.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from leaklib import KEY_MARK, ProcessWatch, Secrets, search_here, search_host
from testlib import CACHE, RELEASES, Hosts, play, ssh

SCENARIO = Path(__file__).parents[1]
HOSTS = Hosts(SCENARIO)
ALL = {**HOSTS, **Hosts(SCENARIO, "erlmcp_balancers")}
BALANCERS = Hosts(SCENARIO, "erlmcp_balancers")
LAST = list(HOSTS)[-1]
ONE = {"erlmcp_hosts": next(iter(HOSTS))}
PLAYBOOKS = SCENARIO.parents[1] / "playbooks"
COOKIE = CACHE / "cookies" / "tls"
PKI = CACHE / "pki" / next(iter(HOSTS))
GIVEN = yaml.safe_load((SCENARIO / "inventory" / "hosts.yml").read_text())["all"]["children"]["erlmcp"]["vars"]
NEW_RELEASE = {"erlmcp_release_archive": str(RELEASES / "erlmcp-1.1.0.tar.gz")}
KEY = "/etc/erlmcp/certs/key.pem"
# These hosts have no role erlmcp_hardening, to have the scenario run faster.
ACCEPTED = [
    {"check": check, "reason": "not in this scenario"}
    for check in ("audit_rules", "audit_active", "updates_automatic", "updates_lists", "updates_pending")
]
# Where a secret lies on a host; in no other file. Once there is a new cookie, the old one lies nowhere.
PLACES = {
    "token": "/etc/erlmcp/sets/[^/]+/sys.config",
    "password": "/etc/erlmcp/sets/[^/]+/env.sh",
    "new cookie": "/etc/erlmcp/home/.erlang.cookie.*",
    **{f"{age}key of {name}": "/etc/erlmcp/certs/sets/[^/]+/(key|both).pem" for name in ALL for age in ("", "new ")},
}
QUICK = {"erlmcp_load_balancer_drain_seconds": 2, "erlmcp_cluster_drain_timeout_seconds": 2}


def playbooks():
    """The names of all that are not only parts of others."""
    texts = {path.stem: path.read_text() for path in PLAYBOOKS.glob("*.yml")}
    parts = {name for text in texts.values() for name in re.findall(r"import_playbook: (\w+)\.yml", text)}
    # Parts that are run alone too.
    return set(texts) - parts | {"roll", "rotate_tls", "site"}


def runs(fetched):
    """Playbook to its variables, in an order in which each finds something to do."""
    archives = {"erlmcp_backup_fetch_dir": fetched, "erlmcp_backup_restore_from": fetched}
    # What each host is done to for itself is seen on one as well as on all.
    return {
        "site": {"erlmcp_gather_facts": True},
        "check_health": ONE,
        "client_certificates": {**ONE, "erlmcp_tls_clients": ["watched"]},
        "backup": archives,
        "verify_backups": {**ONE, "erlmcp_backup_verify_all": True},
        "prune_backups": ONE,
        "restore_drill": ONE,
        "restore": archives,
        "upgrade": {**ONE, **NEW_RELEASE},
        "restart": ONE,
        "rollback": ONE,
        "remove_release": {**ONE, "erlmcp_release_removed": "9.9.9"},
        "revert_config": ONE,
        "roll": ONE,
        "rotate_cookie": {},
        "rotate_tls": {"erlmcp_tls_renew": "always"},
        "introduce_ca": {},
        "replace_ca": {},
        "retire_ca": {},
        "join_cluster": {},
        "repair_partition": {},
        "scale": {"erlmcp_scale_connections": 200000},
        "audit_security": {**ONE, "erlmcp_hardening_accepted": ACCEPTED},
        "leave_cluster": {"erlmcp_cluster_leaving": LAST},
    }


TOKEN, PASSWORD = GIVEN["erlmcp_node_config_secrets"]
# What fails, in parts of the collection that handle secrets: playbook and variables.
REFUSED = {
    "a config that Erlang does not read": (
        "site",
        {"erlmcp_node_config_terms": ["{broken, " + json.dumps(TOKEN, ensure_ascii=False)]},
    ),
    "a flag that would show the cookie": ("site", {"erlmcp_node_vm_args": {"-setcookie": PASSWORD}}),
    "a cookie of other characters": ("site", {"erlmcp_cookie": f"{TOKEN}#"}),
    "another cookie than the running one": ("site", {"erlmcp_cookie": re.sub("[^a-z0-9]", "", TOKEN) + "0"}),
    "an argument of another type": ("site", {"erlmcp_node_config_keep": "many"}),
    "a CA that the passphrase does not open": (
        "client_certificates",
        {"erlmcp_tls_clients": ["refused"], "erlmcp_tls_ca_passphrase": PASSWORD},
    ),
}


def key_in(text):
    """A line of the first private key of a PEM text: enough to know it by."""
    return text[text.index(KEY_MARK) :].splitlines()[1]


def known():
    """The secrets of the inventory, of the control node and of the hosts, as they are now."""
    issuer = (PKI / "ca" / "issuer.pem").resolve().name
    return {
        "token": TOKEN,
        "password": PASSWORD,
        "identity": GIVEN["erlmcp_backup_identity"],
        "cookie": COOKIE.read_text().strip(),
        "passphrase": (PKI / "ca" / "passphrase").read_text().strip(),
        "key of the CA": key_in((PKI / "ca" / "keys" / issuer).read_text()),
        **{f"key of {name}": key_in(ssh(address, f"cat {KEY}").stdout) for name, address in ALL.items()},
    }


@pytest.fixture(name="evidence", scope="module")
def _evidence(shown, tmp_path_factory):
    """What is left of the playbooks, and of some runs that were refused."""
    control, fetched = tmp_path_factory.mktemp("control"), tmp_path_factory.mktemp("fetched")
    before = known()

    def run(name, playbook, variables):
        # In a file, since the arguments of this run are looked at too.
        given = fetched / "variables.json"
        given.write_text(json.dumps({**QUICK, **variables}))
        done = play(f"erlmcp.ops.{playbook}", HOSTS, options=["-vvv", "--diff", "--extra-vars", f"@{given}"])
        assert (done.rc == 0) == (name == playbook), f"{name}: {done.messages}"
        shown[name] = done.output

    with pytest.MonkeyPatch.context() as patch, ProcessWatch(Secrets({**before, "a key": KEY_MARK})) as watch:
        patch.setenv("ANSIBLE_CACHE_PLUGIN", "ansible.builtin.jsonfile")
        patch.setenv("ANSIBLE_CACHE_PLUGIN_CONNECTION", str(control / "facts"))
        patch.setenv("ANSIBLE_LOCAL_TEMP", str(control / "temporary"))
        patch.setenv("ANSIBLE_LOG_PATH", str(control / "log"))
        for what, (playbook, variables) in REFUSED.items():
            run(what, playbook, variables)
        for name, variables in runs(str(fetched)).items():
            if name not in shown:
                run(name, name, variables)
        changed = {f"new {name}": value for name, value in known().items() if value != before[name]}
        secrets = Secrets({**before, **changed, "a key": KEY_MARK})
        found = {name: search_host(address, secrets) for name, address in ALL.items()}
        rebuild(LAST)
        run("replace_node", "replace_node", {"erlmcp_cluster_replaced": LAST})
    return {"watch": watch, "secrets": secrets, "found": found, "control": control, "fetched": fetched}


def rebuild(name):
    program, inventory = SCENARIO.parent / "shared" / "hosts.py", SCENARIO / "inventory" / "hosts.yml"
    subprocess.run([sys.executable, program, "reset", "--limit", name, inventory], check=True, capture_output=True)


@pytest.mark.usefixtures("evidence")
def test_every_playbook_was_run(shown):
    assert playbooks() <= set(shown)


def test_no_output_shows_a_secret(evidence, shown):
    assert {name: found for name, output in shown.items() if (found := evidence["secrets"].found_in(output))} == {}


def test_no_list_of_processes_shows_a_secret(evidence):
    assert evidence["watch"].seen > 1000
    assert evidence["watch"].found == set()


def test_no_environment_has_a_secret_but_that_of_the_node_and_of_who_asks_it(evidence):
    """A variable of the node's environment is one; env.sh is read by the control command as well, as the account."""
    watched = evidence["watch"].in_environment
    assert {name for name, _arguments in watched} == {"password"}, watched


def test_no_journal_has_a_secret(evidence):
    assert all(each["journal_bytes"] > 10_000 for each in evidence["found"].values())
    assert {name: each["journal"] for name, each in evidence["found"].items() if each["journal"]} == {}


def test_secrets_lie_where_they_belong_and_others_cannot_read_them(evidence):
    for host, found in evidence["found"].items():
        # Keys of ssh, and programs that know what a key looks like.
        held = [(name, path, mode) for name, path, mode in found["files"] if name != "a key"]
        assert held, host
        assert [each for each in held if not re.fullmatch(PLACES.get(each[0], ""), each[1])] == [], host
        assert [each for each in held if int(each[2], 8) & 0o007] == [], host
        assert {name for name, _path, _mode in held if " of " in name} <= {f"key of {host}", f"new key of {host}"}


def test_nothing_is_left_on_the_control_node(evidence):
    assert list((evidence["control"] / "facts").iterdir())
    assert (evidence["control"] / "log").stat().st_size > 10_000
    assert search_here(evidence["control"], evidence["secrets"]) == []


def test_archives_are_encrypted(evidence):
    archives = list(evidence["fetched"].rglob("*.age"))
    assert len(archives) >= len(HOSTS)
    assert all(path.read_bytes().startswith(b"age-encryption.org/") for path in archives)
    kept = "find /var/backups/erlmcp -name 'erlmcp-*.tar*' ! -name '*.json'"
    for address in HOSTS.values():
        for path in ssh(address, kept).stdout.split():
            assert ssh(address, f"head -c 18 {path}").stdout == "age-encryption.org", path


def test_what_is_there_is_found(tmp_path):
    """Otherwise the tests before would pass with eyes shut."""
    secrets, address = Secrets({"canary": "canary-83be4d0f2c9a71"}), HOSTS[LAST]
    with ProcessWatch(secrets) as watch:
        ssh(
            address,
            "logger canary-83be4d0f2c9a71; echo xcanary-83be4d0f2c9a71 | base64 > /var/tmp/canary;"
            " sh -c 'sleep 0.2; true' canary-83be4d0f2c9a71; journalctl --sync",
        )
    (tmp_path / "canary").write_text('{"a": "canary-83be4d0f2c9a71"}')
    found = search_host(address, secrets)
    assert {name for name, _arguments in watch.found} == {"canary"}
    assert found["journal"] == ["canary"]
    assert found["files"] == [("canary", "/var/tmp/canary", "0o644")]
    assert search_here(tmp_path, secrets) == [("canary", str(tmp_path / "canary"))]
