# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cookie and keys are encrypted on the disks of nodes, and readable for the account where they have to be."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from testlib import Hosts, health, play, ssh

DIRECTORY = Path(__file__).parents[1]
BOOKWORM, TRIXIE = (Hosts(DIRECTORY, "erlmcp", name) for name in ("system_erlang", "trixie"))
LAST = list(TRIXIE)[-1]
COOKIE = "/etc/erlmcp/home/.erlang.cookie"
ENCRYPTED = {"erlmcp_tls_enabled": True, "erlmcp_credentials_enabled": True}


def in_plain_text(address):
    """Return the files on a host's disk that hold its cookie or a private key of TLS."""
    places = "/etc/erlmcp /var/lib/erlmcp /var/log /var/backups"
    return ssh(address, f"grep -rlF -f {COOKIE} -e 'PRIVATE KEY' {places} 2> /dev/null || true").stdout.split()


def pid(address):
    return ssh(address, "systemctl show -P MainPID erlmcp").stdout


def power_cut(name):
    hosts = [sys.executable, DIRECTORY.parent / "shared" / "hosts.py", "power"]
    for state in ("kill", "on"):
        subprocess.run([*hosts, state, name], check=True, stdout=subprocess.DEVNULL)


def wait_until(condition, what, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


@pytest.mark.parametrize("address", TRIXIE.values(), ids=TRIXIE)
def test_the_cookie_is_for_the_account_and_not_on_disk(address):
    assert in_plain_text(address) == []
    assert ssh(address, f"stat -Lc '%U:%G %a' {COOKIE}; stat -Lfc %T {COOKIE}").stdout == "erlmcp:erlmcp 400\ntmpfs\n"
    assert ssh(address, f"setpriv --reuid=nobody --clear-groups cat {COOKIE}", check=False).returncode != 0


def test_a_host_comes_back_from_a_power_cut_with_the_cookie_it_had_last():
    before = ssh(TRIXIE[LAST], f"cat {COOKIE}").stdout
    done = play("erlmcp.ops.rotate_cookie", TRIXIE, options=["--limit", "trixie"])
    assert done.rc == 0, done.messages
    after = ssh(TRIXIE[LAST], f"cat {COOKIE}").stdout
    assert after != before
    power_cut(LAST)
    wait_until(lambda: (health(TRIXIE[LAST]) or {}).get("status") == "healthy", "the node did not come back")
    assert ssh(TRIXIE[LAST], f"cat {COOKIE}").stdout == after
    assert in_plain_text(TRIXIE[LAST]) == []
    assert play("erlmcp.ops.check_health", TRIXIE, options=["--limit", "trixie"]).rc == 0


def test_a_host_that_has_lost_its_key_says_what_to_do_and_site_does_it():
    address = TRIXIE[LAST]
    ssh(address, "rm /var/lib/systemd/credential.secret")
    power_cut(LAST)
    failed = "systemctl is-failed erlmcp-credentials erlmcp"
    wait_until(lambda: ssh(address, failed, check=False).stdout == "failed\nfailed\n", "the node did not give up")
    said = ssh(address, "journalctl -b -o cat -u erlmcp-credentials -u erlmcp").stdout
    assert f"{COOKIE}.cred cannot be opened with the key of this host" in said
    assert f"{COOKIE} cannot be read; run the playbook site" in said
    done = play("erlmcp.ops.site", TRIXIE, options=["--limit", "trixie"])
    assert done.rc == 0, done.messages
    assert {host for host, _task in done.changed} == {LAST}
    assert in_plain_text(address) == []
    ssh(address, "systemctl restart erlmcp-credentials")
    assert play("erlmcp.ops.check_health", TRIXIE, options=["--limit", "trixie"]).rc == 0


def answers(address, url):
    files = "--cert /etc/erlmcp/certs/cert.pem --key /etc/erlmcp/certs/key.pem"
    return "healthy" in ssh(address, f"curl -sk --max-time 3 {files} {url}", check=False).stdout


def test_where_systemd_cannot_encrypt_they_are_left_in_plain_text_as_the_refusal_says():
    ((name, address),) = BOOKWORM.items()
    options = ["--limit", name, "--check"]
    ssh(address, "mv /usr/bin/systemd-creds /var/tmp")
    try:
        refused = play("erlmcp.ops.site", BOOKWORM, ENCRYPTED, options)
        variable, value = re.search(r"systemd-creds is missing.* set (\w+) to (false)", refused.messages).groups()
        done = play("erlmcp.ops.site", BOOKWORM, {**ENCRYPTED, variable: value == "true"}, options)
        assert done.rc == 0, done.messages
    finally:
        ssh(address, "mv /var/tmp/systemd-creds /usr/bin")


def test_private_keys_are_encrypted_and_put_back_without_a_restart():
    """And a node that runs gets TLS, and is without it again, by a run of site."""
    ((name, address),) = BOOKWORM.items()
    limit = ["--limit", name]
    plain, secured = "http://127.0.0.1:8080/health", "https://127.0.0.1:8080/health"
    try:
        done = play("erlmcp.ops.site", BOOKWORM, ENCRYPTED, limit)
        assert done.rc == 0, done.messages
        assert (answers(address, plain), answers(address, secured)) == (False, True)
        assert in_plain_text(address) == []
        assert (
            "PRIVATE KEY" in ssh(address, "setpriv --reuid=erlmcp --init-groups cat /etc/erlmcp/certs/key.pem").stdout
        )
        assert ssh(address, "stat -Lc '%U:%G %a' /etc/erlmcp/certs/key.pem").stdout == "root:erlmcp 640\n"
        # What the unit does at boot.
        ssh(address, "rm /run/erlmcp-credentials/* && systemctl restart erlmcp-credentials && systemctl restart erlmcp")
        assert not play("erlmcp.ops.site", BOOKWORM, ENCRYPTED, limit).changed
        running = pid(address)
        off = {**ENCRYPTED, "erlmcp_credentials_enabled": False}
        predicted = play("erlmcp.ops.site", BOOKWORM, off, [*limit, "--check"])
        done = play("erlmcp.ops.site", BOOKWORM, off, limit)
        assert done.rc == 0, done.messages
        assert done.changed == predicted.changed
        assert pid(address) == running
        assert len(in_plain_text(address)) == 3
        assert ssh(address, "ls -A /run/erlmcp-credentials; find /etc -name '*.cred'").stdout == ""
    finally:
        restored = play("erlmcp.ops.site", BOOKWORM, options=limit)
    assert restored.rc == 0, restored.messages
    assert "healthy" in ssh(address, f"curl -s --max-time 3 {plain}").stdout
