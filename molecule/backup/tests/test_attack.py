# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Somebody has the service account, and leads root elsewhere while it works: on Debian 12 and 13.

Two attackers run on each host: one as the account, and one inside the node's own sandbox.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from backuplib import SOAK, ops, put
from testlib import Hosts, play, ssh, wait_until_healthy

PAIR = Hosts(Path(__file__).parents[1], "erlmcp", "pair")
DATA = dict(zip(PAIR.values(), ("/var/lib/erlmcp", "/srv/data/erlmcp")))
SHARED = Path(os.environ["PYTHONPATH"].split(os.pathsep)[0])
STORE = "/var/backups/erlmcp"
# With a node that was spoiled nobody waits for two minutes.
SETTINGS = "/var/tmp/attack.settings"
SHORTER = f"""
import json
settings = json.load(open("/etc/erlmcp-ops/erlmcp.json"))
json.dump({{**settings, "start_timeout_seconds": 15}}, open("{SETTINGS}", "w"))
"""
SECRET = "nobody-but-root-reads-this"
# How often each operation runs, and how often something must have been exchanged for each target meanwhile.
ROUNDS = 40 if SOAK else 10
EXCHANGES = 200 if SOAK else 10
# What is exchanged: files of the account, the spool of a backup, and the scratch directories beside the data.
TARGETS = ("own", "spool", "verify", "drill", "restore")
# What a run may say that does not succeed: what was met, and never a traceback.
SAID = (
    *("tampered with it", "changed while it was read", "cannot be read", "is no regular file", "open for writing"),
    *("is not healthy", "old state is back", "the drill with", "could not be started", "no restore is there"),
    *("tables cannot be read", "do not hold what its manifest counted", "Erlang ended without an answer"),
    *("could not copy its tables", "was not written", "the node has ended", "it would start without them"),
    # The restore that it would take back has been refused.
    "there is none to be taken back",
)


def prize_of(address):
    return f"{os.path.dirname(DATA[address])}/roots"


def of_root(address):
    """Owners, modes and contents of what the attackers are after, and of what is around it."""
    prize = prize_of(address)
    return ssh(
        address,
        f"cat {prize}/secret; stat -c '%n %u %g %a' {os.path.dirname(prize)} {prize} {prize}/*; ls -A {prize}; "
        f"find / -xdev -user erlmcp ! -path '/proc/*' ! -path '/var/tmp/*' ! -path '{DATA[address]}*' "
        f"! -path '{os.path.dirname(DATA[address])}/.erlmcp*' ! -path '/run/*' ! -path '/var/log/*' | sort",
    ).stdout


@pytest.fixture(name="attacked")
def _attacked():
    """Prizes are laid out on both hosts, and attackers run until the end."""
    for address in PAIR.values():
        prize = prize_of(address)
        put(address, 20)
        ssh(address, "python3 -", typed=SHORTER)
        ssh(address, "cat > /var/tmp/attack.py", typed=(SHARED / "attack.py").read_text())
        ssh(
            address,
            f"mkdir -p {prize}/d && echo {SECRET} > {prize}/secret && cp {prize}/secret {prize}/d/file0 && "
            f"cp {prize}/secret {prize}/file1 && chmod 600 {prize}/*e* {prize}/d/* && "
            "systemd-run --quiet --collect --unit=attack "
            f"-p User=erlmcp -p Nice=5 python3 /var/tmp/attack.py {DATA[address]} {prize}",
        )
    yield
    for address in PAIR.values():
        # What attacks inside of the node's unit ends with it.
        ssh(address, "systemctl stop attack erlmcp", check=False)
        ssh(
            address,
            f"rm -rf {DATA[address]}/attack {DATA[address]}/.erlmcp-* {prize_of(address)} /var/tmp/attack*",
        )
        ssh(address, "systemctl start erlmcp")
        wait_until_healthy(address)


def attack_from_inside(address):
    """A process in the node's own sandbox; what stops the node ends it."""
    command = f"python3 /var/tmp/attack.py {DATA[address]} {prize_of(address)} >/dev/null 2>&1 &"
    ssh(address, f"erlmcp eval 'os:cmd(\"{command}\").'", check=False)


def exchanges(address):
    """How often the attackers exchanged something, by the kind of it."""
    counts = [json.loads(line) for line in ssh(address, "tail -qn +1 /var/tmp/attack-*.json").stdout.splitlines()]
    return {kind: sum(each.get(kind, 0) for each in counts) for kind in (*TARGETS, "boxed", "loose")}


def one_round(address, number):
    """Run each operation once; return what they said."""
    said = []
    if number == 0:
        ssh(address, "systemctl stop erlmcp")
        said.append(run(address, "backup", "--method", "cold"))
        ssh(address, "systemctl start erlmcp")
    for arguments in (
        ("backup",),
        ("backup", "--method", "stop"),
        ("verify", "latest"),
        ("drill", "latest"),
        ("restore", "latest", "--data-only"),
        ("restore", "--undo"),
    ):
        if arguments[0] in ("drill", "restore") and number % 5 and not SOAK:
            continue
        if arguments[0] == "backup":
            attack_from_inside(address)
        said.append(run(address, *arguments))
    return said


def run(address, *arguments):
    """Return (what was run, exit status, what it said when that is not 0)."""
    status, answer = ops(address, *arguments, "--settings", SETTINGS, check=False)
    return arguments, status, answer if status else ""


@pytest.mark.usefixtures("attacked")
def test_the_account_cannot_lead_root_elsewhere():
    before = {address: of_root(address) for address in PAIR.values()}

    def attack(address):
        return [each for number in range(ROUNDS) for each in one_round(address, number)]

    with ThreadPoolExecutor(len(PAIR)) as pool:
        said = dict(zip(PAIR.values(), pool.map(attack, PAIR.values())))
    played = play("erlmcp.ops.site", PAIR)
    assert played.rc == 0 or any(text in str(played.messages) for text in SAID), played.messages
    exchanged = {address: exchanges(address) for address in PAIR.values()}
    print(exchanged)
    for address, answers in said.items():
        for arguments, status, answer in answers:
            print(address, arguments, status, answer[-300:])
    assert not any(each.pop("loose") for each in exchanged.values())
    # An attack that came to nothing proves nothing. A restore that it ends at once leaves little to exchange.
    assert all(all(each.values()) for each in exchanged.values())
    assert min(sum(each[kind] for each in exchanged.values()) for kind in TARGETS) >= EXCHANGES
    for address, answers in said.items():
        assert of_root(address) == before[address]
        for arguments, status, answer in answers:
            assert not status or any(text in answer for text in SAID), (arguments, answer)
            assert "Traceback" not in answer
        # It must not be that nothing was done.
        assert sum(not status for _arguments, status, _answer in answers) >= ROUNDS // 2
        found = ssh(
            address, f"for each in {STORE}/*.zst; do zstd -dc $each | grep -c -a {SECRET} || true; done"
        ).stdout.split()
        assert set(found) == {"0"}
