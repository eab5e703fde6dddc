# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Backups: nothing is missed while the node serves, nothing half-made has a name, nothing good is deleted."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shlex
import signal
import subprocess
from pathlib import Path

import pytest
from backuplib import Writers, content, filled_by_old_restores, ops, pid, put
from testlib import Hosts, health, play, ssh, start, wait_until, wait_until_healthy

PAIR = Hosts(Path(__file__).parents[1], "erlmcp", "pair")
BARE = Hosts(Path(__file__).parents[1], "erlmcp", "bare")
FIRST, SECOND = PAIR.values()
STORE = "/var/backups/erlmcp"


def archives(address, store=STORE):
    names = ssh(address, f"ls {store} 2>/dev/null || true").stdout.split()
    return sorted(name for name in names if name.endswith((".tar.zst", ".tar.gz", ".age")))


def manifest(address, name, store=STORE):
    return json.loads(ssh(address, f"cat {store}/{name}.json").stdout)["manifest"]


def rows(tables):
    return {table["name"]: table["rows"] for table in tables}


def one(group="n1.backup.test", **options):
    return play("erlmcp.ops.backup", PAIR, {"erlmcp_hosts": group, **options})


def test_a_hot_backup_misses_nothing_and_disturbs_nobody():
    before = put(FIRST, 500)
    known = content(FIRST)
    with Writers(FIRST, pause=0.02) as writers:
        done = one()
    assert done.rc == 0, done.messages
    assert not writers.failed
    assert writers.stored > 100
    name = archives(FIRST)[-1]
    counted = rows(manifest(FIRST, name)["tables"])
    assert known[1] <= counted["erlmcp_item"] <= content(FIRST)[1]

    restored = play("erlmcp.ops.restore", PAIR, {"erlmcp_hosts": "n1.backup.test"})
    assert restored.rc == 0, restored.messages
    sessions, items, _audit, disagreeing, _digest = content(FIRST)
    assert (sessions, items) == (counted["erlmcp_session"], counted["erlmcp_item"])
    assert disagreeing == 0
    assert before


def test_a_backup_right_after_a_start_has_every_row():
    put(FIRST, 300)
    sessions, items, *_more = content(FIRST)
    ssh(FIRST, "systemctl restart erlmcp && erlmcp-ops backup", timeout=180)
    counted = rows(manifest(FIRST, archives(FIRST)[-1])["tables"])
    assert (counted["erlmcp_session"], counted["erlmcp_item"]) == (sessions, items)
    wait_until_healthy(FIRST)


def test_a_crash_dump_is_not_archived_with_the_logs():
    """It holds the memory of the node, and so the cookie."""
    ssh(FIRST, """erlmcp eval 'halt("as if it had crashed").'""", check=False)
    wait_until(lambda: ssh(FIRST, "ls /var/log/erlmcp").stdout.count("erl_crash.dump"), "it has left no crash dump")
    wait_until_healthy(FIRST)
    ops(FIRST, "backup")
    inside = ssh(FIRST, f"tar --zstd -tf {STORE}/{archives(FIRST)[-1]}").stdout
    assert "logs/" in inside
    assert "crash" not in inside
    ssh(FIRST, "rm /var/log/erlmcp/erl_crash.dump*")


def test_the_archive_says_what_it_is():
    put(FIRST, 3)
    assert one().rc == 0
    name = archives(FIRST)[-1]
    found = manifest(FIRST, name)
    assert found["node"]["name"] == "erlmcp@n1.backup.test"
    assert found["versions"]["release"] == "1.0.0"
    assert found["method"] == "hot"
    inside = ssh(FIRST, f"tar --zstd -tf {STORE}/{name}").stdout.split()
    assert "config/sys.config" in inside
    assert "mnesia.backup" in inside
    assert "data/audit.dets" in inside
    assert any(each.startswith("logs/") for each in inside)
    assert not any("cookie" in each for each in inside)
    assert ssh(FIRST, f"stat -c '%a %U' {STORE} {STORE}/{name}").stdout.split() == ["700", "root", "600", "root"]
    listed = ops(FIRST, "list")[1]["backups"]
    assert [each["name"] for each in listed] == archives(FIRST)
    assert listed[-1]["verified"]["level"] == "tables"


def test_check_mode_says_so_and_does_nothing():
    def everything():
        return ssh(FIRST, f"find {STORE} /var/lib /run/erlmcp-ops -not -path '*/mnesia/*' | sort").stdout

    before, running = everything(), pid(FIRST)
    done = play("erlmcp.ops.backup", PAIR, {"erlmcp_hosts": "n1.backup.test"}, ["--check", "--diff"])
    assert done.rc == 0, done.messages
    assert any("Make an archive" in task for _host, task in done.changed)
    for playbook in ("prune_backups", "restore", "restore_drill", "verify_backups"):
        done = play(f"erlmcp.ops.{playbook}", PAIR, {"erlmcp_hosts": "n1.backup.test"}, ["--check", "--diff"])
        assert done.rc == 0, done.messages
    assert everything() == before
    assert pid(FIRST) == running


def test_an_encrypted_archive_opens_with_its_key_only(tmp_path):
    ssh(FIRST, "apt-get install -qy age", timeout=120)
    keys = [ssh(FIRST, "age-keygen 2>/dev/null").stdout.splitlines() for _key in range(2)]
    secrets = [key[-1] for key in keys]
    public = [line.split(": ")[1] for key in keys for line in key if line.startswith("# public")]
    done = one(erlmcp_backup_recipients=[public[0]])
    assert done.rc == 0, done.messages
    name = archives(FIRST)[-1]
    assert name.endswith(".tar.zst.age")
    listed = ops(FIRST, "list")[1]["backups"]
    assert listed[-1]["verified"]["level"] == "sealed"
    running = pid(FIRST)
    for identity, problem in ((None, "is encrypted"), (secrets[1], "cannot be decrypted")):
        variables = {"erlmcp_hosts": "n1.backup.test", "erlmcp_backup_identity": identity or ""}
        refused = play("erlmcp.ops.restore", PAIR, variables)
        assert refused.rc != 0
        assert problem in refused.messages
        assert pid(FIRST) == running
    opened = play(
        "erlmcp.ops.restore", PAIR, {"erlmcp_hosts": "n1.backup.test", "erlmcp_backup_identity": secrets[0]}, ["-vvv"]
    )
    assert opened.rc == 0, opened.messages
    assert secrets[0] not in opened.output


def test_two_backups_exclude_each_other_and_name_the_holder():
    holder = (
        "python3 -c \"import sys; sys.path.insert(0, '/usr/local/bin/erlmcp-ops'); "
        "from erlmcp_ops._backup.lock import Lock; import time; "
        "Lock('/run/erlmcp-ops', 'erlmcp', 'restore').__enter__(); time.sleep(600)\""
    )
    ssh(FIRST, f"systemd-run --quiet --unit=holder {holder}")
    try:
        ssh(FIRST, "until grep -q restore /run/erlmcp-ops/*.lock; do sleep 0.1; done")
        done = one()
        assert done.rc != 0
        assert "restore" in done.messages
        assert ssh(FIRST, "systemctl show -P MainPID holder").stdout.strip() in done.messages
    finally:
        ssh(FIRST, "systemctl stop holder")
    assert one().rc == 0


def test_a_full_store_leaves_no_archive_and_the_node_alone():
    running, kept = pid(FIRST), archives(FIRST)
    # The smallest archive has more than two pages.
    ssh(FIRST, "mkdir -p /mnt/full && mount -t tmpfs -o size=8k,mode=0700 tmpfs /mnt/full")
    try:
        done = one(erlmcp_backup_dir="/mnt/full")
        assert done.rc != 0
        assert "No space left" in done.messages
        assert ssh(FIRST, "ls -A /mnt/full").stdout == ""
    finally:
        ssh(FIRST, "umount /mnt/full")
    assert ssh(FIRST, "ls -A /var/lib/erlmcp | grep '^.erlmcp-' || true").stdout == ""
    assert (pid(FIRST), archives(FIRST)) == (running, kept)
    assert one().rc == 0


def test_the_disk_of_the_node_is_not_filled_and_the_playbook_that_is_named_makes_room():
    kept = archives(SECOND)
    with filled_by_old_restores(SECOND, 40_000_000):
        status, told = ops(SECOND, "backup", check=False)
        assert status == 1
        assert archives(SECOND) == kept
        assert health(SECOND)["status"] == "healthy"
        playbook = re.search(r"make room, for example with the playbook (\w+)", told)[1]
        done = play(f"erlmcp.ops.{playbook}", PAIR, {"erlmcp_hosts": "n2.backup.test"})
        assert done.rc == 0, done.messages
        ops(SECOND, "backup")


def test_a_store_that_cannot_be_written_is_refused():
    ssh(FIRST, "mkdir -p /mnt/readonly && mount -t tmpfs -o ro tmpfs /mnt/readonly")
    try:
        done = one(erlmcp_backup_dir="/mnt/readonly/store")
        assert done.rc != 0
        assert "/mnt/readonly/store" in done.messages
    finally:
        ssh(FIRST, "umount /mnt/readonly")


def test_the_timer_runs_backup_proof_and_retention():
    assert ssh(SECOND, "systemctl is-active erlmcp-backup.timer").stdout.strip() == "active"
    kept = archives(SECOND)
    ssh(SECOND, "mkdir -p /var/lib/prometheus/node-exporter && systemctl start erlmcp-backup.service", timeout=120)
    assert len(archives(SECOND)) == len(kept) + 1
    assert ops(SECOND, "list")[1]["backups"][-1]["verified"]["level"] == "tables"
    metrics = ssh(SECOND, "cat /var/lib/prometheus/node-exporter/erlmcp_backup.prom").stdout
    assert "erlmcp_backup_last_success_timestamp_seconds" in metrics
    assert "erlmcp_backup_size_bytes" in metrics
    journal = ssh(SECOND, "journalctl --no-pager -o cat -u erlmcp-backup.service").stdout
    assert "the node writes its tables" in journal


def test_a_failed_timer_run_is_told():
    ssh(SECOND, "systemctl stop erlmcp")
    try:
        assert ssh(SECOND, "systemctl start erlmcp-backup.service", check=False, timeout=120).returncode != 0
        told = "journalctl --no-pager -p crit -o cat -u 'erlmcp-backup-failed.service'"
        wait_until(lambda: ssh(SECOND, told).stdout, "nothing is told")
        mended = re.search(r"then remove the cause and run: (systemctl start \S+)", ssh(SECOND, told).stdout)[1]
        metrics = ssh(SECOND, "cat /var/lib/prometheus/node-exporter/erlmcp_backup.prom").stdout
        assert "erlmcp_backup_last_failure_timestamp_seconds" in metrics
    finally:
        ssh(SECOND, "systemctl reset-failed; systemctl start erlmcp")
    ssh(SECOND, mended, timeout=120)


def test_retention_never_takes_the_last_verified_one():
    for _each in range(3):
        ops(FIRST, "backup")
    *_older, good, second, newest = archives(FIRST)
    ssh(FIRST, f"rm -f {STORE}/*.verified.json")
    (warning,) = ops(FIRST, "prune", "--check")[1]["warnings"]
    proven = play(f"erlmcp.ops.{warning.rpartition('run the playbook ')[2]}", PAIR, {"erlmcp_hosts": "n1.backup.test"})
    assert proven.rc == 0, proven.messages
    assert ops(FIRST, "prune", "--check")[1]["warnings"] == []
    ops(FIRST, "verify", good)
    ssh(FIRST, f"rm -f {STORE}/{second}.verified.json {STORE}/{newest}.verified.json")
    ssh(FIRST, f"touch {STORE}/notes-of-the-operator.tar.gz")
    nothing = {"erlmcp_hosts": "n1.backup.test", "erlmcp_backup_keep_days": 0}
    nothing |= {f"erlmcp_backup_keep_{each}": 0 for each in ("daily", "weekly", "monthly")}
    before = archives(FIRST)
    shown = play("erlmcp.ops.prune_backups", PAIR, nothing, ["--check", "--diff"])
    assert shown.rc == 0, shown.messages
    assert shown.changed
    assert archives(FIRST) == before
    done = play("erlmcp.ops.prune_backups", PAIR, nothing)
    assert done.rc == 0, done.messages
    assert archives(FIRST) == sorted([good, newest, "notes-of-the-operator.tar.gz"])
    again = play("erlmcp.ops.prune_backups", PAIR, nothing)
    assert not again.changed
    ssh(FIRST, f"rm {STORE}/notes-of-the-operator.tar.gz")


def test_a_damaged_archive_loses_its_mark():
    ops(FIRST, "backup")
    name = archives(FIRST)[-1]
    ops(FIRST, "verify", name)
    ssh(FIRST, f"printf x | dd of={STORE}/{name} bs=1 seek=2000 conv=notrunc status=none")
    try:
        done = play("erlmcp.ops.verify_backups", PAIR, {"erlmcp_hosts": "n1.backup.test"})
        assert done.rc != 0
        assert name in done.messages
        assert ops(FIRST, "list")[1]["backups"][-1]["verified"] is None
    finally:
        ssh(FIRST, f"rm {STORE}/{name}*")


def new_key(path):
    """Return (private key, public key) as ssh-keygen makes them."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path.read_text(), path.with_suffix(".pub").read_text().strip()


# Whoever can write the store can write any digest.
FORGE = """
import json, subprocess, sys
path = sys.argv[1]
beside = json.load(open(path))
facts = beside["archive"]
message = "erlmcp.ops archive, format 1\\n{name}\\n{size}\\n{sha256}\\n".format(**facts)
sign = ["ssh-keygen", "-Y", "sign", "-n", "erlmcp-backup", "-f", "/var/tmp/forger"]
beside["signature"] = subprocess.run(sign, input=message, capture_output=True, text=True, check=True).stdout
json.dump(beside, open(path, "w"))
"""


def test_an_archive_that_no_signer_has_signed_is_refused_before_the_stop(tmp_path):
    private, public = new_key(tmp_path / "ours")
    forger, _public = new_key(tmp_path / "forger")
    ops(FIRST, "backup")
    unsigned = archives(FIRST)[-1]
    signing = {"erlmcp_backup_signing_key": private, "erlmcp_backup_signers": [public]}
    laid_down = play(
        "erlmcp.ops.site", PAIR, {"erlmcp_hosts": "n1.backup.test", **signing}, ["--tags", "erlmcp_backup"]
    )
    assert laid_down.rc == 0, laid_down.messages
    assert private.splitlines()[2] not in laid_down.output
    try:
        done = one(**signing)
        assert done.rc == 0, done.messages
        signed = archives(FIRST)[-1]
        assert ops(FIRST, "verify", signed)[1]["results"][0]["level"] == "tables"
        ssh(FIRST, "cat > /var/tmp/forger && chmod 600 /var/tmp/forger", typed=forger)
        ssh(FIRST, f"cp {STORE}/{signed}.json /var/tmp/right && python3 - {STORE}/{signed}.json", typed=FORGE)
        running = pid(FIRST)
        for name, problem in ((unsigned, "is not signed"), (signed, "is signed by somebody else")):
            for verb in ("restore", "drill", "verify"):
                status, answer = ops(FIRST, verb, name, check=False)
                assert status, (verb, name)
                assert problem in answer, answer
            assert ops(FIRST, "verify", name, "--level", "bytes", "--unsigned")[1]["results"][0]["problem"] is None
            refused = play(
                "erlmcp.ops.restore",
                PAIR,
                {"erlmcp_hosts": "n1.backup.test", "erlmcp_backup_restore_archive": name, **signing},
            )
            assert refused.rc != 0
            assert problem in refused.messages
        assert pid(FIRST) == running
        limit = ["--limit", "n1.backup.test"]
        trusted = shlex.split(re.search(r"run once with (-e '.*?')", refused.messages)[1])
        done = play("erlmcp.ops.restore", PAIR, {"erlmcp_backup_restore_archive": name, **signing}, [*limit, *trusted])
        assert done.rc == 0, done.messages
        ssh(FIRST, f"mv /var/tmp/right {STORE}/{signed}.json")
        assert ops(FIRST, "restore", signed, "--data-only")[0] == 0
    finally:
        ssh(FIRST, "rm -f /var/tmp/forger /var/tmp/right")
        back = play("erlmcp.ops.site", PAIR, {"erlmcp_hosts": "n1.backup.test"}, ["--tags", "erlmcp_backup"])
    assert back.rc == 0, back.messages
    assert ssh(FIRST, "ls /etc/erlmcp-ops").stdout.split() == ["erlmcp.json"]


def test_a_node_without_tables_is_backed_up_drilled_and_restored_without_a_stop():
    bare = BARE["n1.bare-backup.test"]
    ssh(bare, "runuser -u erlmcp -- sh -c 'mkdir -p /var/lib/erlmcp/deep/er; echo kept > /var/lib/erlmcp/deep/er/file'")
    before = pid(bare)
    done = play("erlmcp.ops.backup", PAIR, {"erlmcp_hosts": "bare"})
    assert done.rc == 0, done.messages
    assert pid(bare) == before
    found = manifest(bare, archives(bare)[-1])
    assert (found["method"], found["mnesia"], found["tables"]) == ("hot", None, [])
    done = play("erlmcp.ops.restore_drill", PAIR, {"erlmcp_hosts": "bare"})
    assert done.rc == 0, done.messages
    assert pid(bare) == before
    ssh(bare, "echo changed > /var/lib/erlmcp/deep/er/file")
    done = play("erlmcp.ops.restore", PAIR, {"erlmcp_hosts": "bare"})
    assert done.rc == 0, done.messages
    restored = "cat /var/lib/erlmcp/deep/er/file; stat -c %U /var/lib/erlmcp/deep/er/file"
    assert ssh(bare, restored).stdout == "kept\nerlmcp\n"
    assert ssh(bare, "erlmcp ping").stdout.strip() == "pong"


# The owner of the file must outlive the question.
HOLD = (
    "erlmcp eval 'Self = self(), spawn(fun() -> group_leader(whereis(init), self()), "
    '{ok, _} = file:open("/var/lib/erlmcp/journal.bin", [write]), Self ! open, timer:sleep(infinity) end), '
    "receive open -> ok end.'"
)


def test_a_file_that_the_node_keeps_open_wants_a_stop_and_site_says_so():
    bare = BARE["n1.bare-backup.test"]
    ssh(bare, HOLD)
    before = pid(bare)
    # The settings of the backup change, so site asks.
    done = play("erlmcp.ops.site", PAIR, {"erlmcp_backup_log_days": 6}, ["--limit", "bare"])
    assert done.rc != 0
    assert "journal.bin open for writing" in done.messages
    assert "erlmcp_backup_method: stop" in done.messages
    assert pid(bare) == before
    again = play("erlmcp.ops.site", PAIR, {"erlmcp_backup_log_days": 6}, ["--limit", "bare"])
    assert again.rc == 0, again.messages
    without = re.search(r"add '(\S+)' to erlmcp_backup_exclude", done.messages)[1]
    done = play("erlmcp.ops.backup", PAIR, {"erlmcp_hosts": "bare", "erlmcp_backup_exclude": [without]})
    assert done.rc == 0, done.messages
    assert pid(bare) == before
    done = play("erlmcp.ops.backup", PAIR, {"erlmcp_hosts": "bare", "erlmcp_backup_method": "cold"})
    assert done.rc != 0
    assert "erlmcp_backup_method: hot" in done.messages
    assert pid(bare) == before
    done = play("erlmcp.ops.backup", PAIR, {"erlmcp_hosts": "bare", "erlmcp_backup_method": "stop"})
    assert done.rc == 0, done.messages
    assert pid(bare) not in ("0", before)
    assert "data/journal.bin" in [each["name"] for each in manifest(bare, archives(bare)[-1])["files"]]
    assert ssh(bare, "erlmcp ping").stdout.strip() == "pong"


@pytest.mark.parametrize("tool", ["rsync", "rclone"])
def test_a_copy_counts_only_when_it_was_proven_there(tool):
    ssh(FIRST, f"apt-get install -qy {tool}", timeout=180)
    ssh(FIRST, "mkdir -p /mnt/away")
    options = {"erlmcp_backup_copy_tool": tool, "erlmcp_backup_copy_destination": "/mnt/away"}
    ssh(FIRST, "mount -t tmpfs -o size=16k tmpfs /mnt/away")
    try:
        done = one(**options)
        assert done.rc != 0
        assert "not counted as a copy" in done.messages
        assert ops(FIRST, "list")[1]["backups"][-1]["copied"] is None
    finally:
        ssh(FIRST, "umount /mnt/away")
    done = one(**options)
    assert done.rc == 0, done.messages
    name = archives(FIRST)[-1]
    assert ops(FIRST, "list")[1]["backups"][-1]["copied"]
    ssh(FIRST, f"cmp {STORE}/{name} /mnt/away/{name} && cmp {STORE}/{name}.json /mnt/away/{name}.json")
    assert health(FIRST)["status"] == "healthy"


@pytest.fixture(name="alice")
def _alice(tmp_path):
    """An inventory beside the others, in which the first host is entered by somebody whom sudo asks for a password."""
    ssh(
        FIRST,
        "useradd -m alice && echo alice:wonderland | chpasswd && echo 'alice ALL=(ALL) ALL' > /etc/sudoers.d/alice"
        " && install -d -o alice -m 0700 ~alice/.ssh"
        " && install -o alice -m 0600 /root/.ssh/authorized_keys ~alice/.ssh",
    )
    login = {"ansible_user": "alice", "ansible_become": True, "ansible_become_password": "wonderland"}
    inventory = tmp_path / "alice.yml"
    inventory.write_text(json.dumps({"all": {"hosts": {"n1.backup.test": login}}}))
    yield ["-i", str(inventory)]
    ssh(FIRST, "rm /etc/sudoers.d/alice; userdel -rf alice")


def test_archives_are_fetched_with_a_sudo_password_and_proven_on_the_control_node(tmp_path, alice):
    fetched = tmp_path / "fetched"
    done = play(
        "erlmcp.ops.backup",
        PAIR,
        {"erlmcp_hosts": "pair", "erlmcp_backup_fetch_dir": str(fetched)},
        [*alice, "-vvv"],
    )
    assert done.rc == 0, done.messages
    for address in PAIR.values():
        name = archives(address)[-1]
        assert (fetched / name).stat().st_size == manifest_size(address, name)
        assert json.loads((fetched / f"{name}.verified.json").read_text())["level"] == "bytes"
        assert [path.stat().st_mode & 0o777 for path in (fetched / name, fetched / f"{name}.json")] == [0o600] * 2
        # Archives may be unencrypted.
        assert base64.b64encode((fetched / name).read_bytes()[:60]).decode() not in done.output


def manifest_size(address, name):
    return json.loads(ssh(address, f"cat {STORE}/{name}.json").stdout)["archive"]["size"]


# A large archive, as far as somebody can tell who does not open it.
LARGE = "erlmcp-n1.backup.test-20260101T000000Z.tar.zst"
MAKE_LARGE = f"""
import hashlib, json, os, sys
beside = json.load(open(sys.argv[1]))
content = os.urandom(64 * 1024**2)
beside["archive"].update(name="{LARGE}", size=len(content), sha256=hashlib.sha256(content).hexdigest())
beside["manifest"]["id"] = "{LARGE.removesuffix(".tar.zst")}"
os.makedirs("/var/tmp/large", 0o700)
open("/var/tmp/large/{LARGE}", "wb").write(content)
json.dump(beside, open("/var/tmp/large/{LARGE}.json", "w"))
"""


def test_a_fetch_goes_on_where_it_was_cut_off_and_puts_no_two_files_together(tmp_path, alice):
    source, fetched = f"/var/tmp/large/{LARGE}", tmp_path / "fetched"
    ops(FIRST, "backup")
    ssh(FIRST, f"python3 - {STORE}/{archives(FIRST)[-1]}.json", typed=MAKE_LARGE)
    size = int(ssh(FIRST, f"stat -c %s {source}").stdout)
    task = {"erlmcp.ops.backup_fetch": {"store_dir": "/var/tmp/large", "dest_dir": str(fetched)}}
    playbook = tmp_path / "fetch.yml"
    playbook.write_text(json.dumps([{"hosts": "n1.backup.test", "gather_facts": False, "tasks": [task]}]))

    def come():
        return sum(path.stat().st_size for path in fetched.glob(f".partial/{LARGE}.*"))

    def begun():
        process = start(str(playbook), PAIR, options=alice)
        wait_until(lambda: come() > 0, "nothing comes")
        return process

    def kill(process):
        """Its workers too: they are in sessions of their own, and would finish what they are at."""
        workers = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True).stdout
        for number in (process.pid, *map(int, workers.split())):
            os.kill(number, signal.SIGKILL)
        process.wait()

    def fetch():
        done = play(str(playbook), PAIR, options=alice)
        return done, done.report["plays"][0]["tasks"][0]["hosts"]["n1.backup.test"]

    try:
        kill(begun())
        before = come()
        assert 0 < before < size
        assert not (fetched / LARGE).exists()
        done, result = fetch()
        assert done.rc == 0, done.messages
        besides = (fetched / f"{LARGE}.json").stat().st_size
        assert result["fetched_bytes"] == size - before + besides
        assert hash_here(fetched / LARGE) == ssh(FIRST, f"sha256sum {source}").stdout.split()[0]
        assert not fetch()[0].changed

        (fetched / LARGE).unlink()
        process = begun()
        ssh(FIRST, f"printf other | dd of={source} bs=1 seek={size - 5} conv=notrunc status=none")
        assert "has changed while it was fetched" in process.communicate(timeout=60)[0]
        assert come() > 0
        assert "has come with other bytes" in fetch()[0].messages
        assert not (fetched / LARGE).exists()
        assert come() == 0
    finally:
        ssh(FIRST, "rm -r /var/tmp/large")


def hash_here(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
