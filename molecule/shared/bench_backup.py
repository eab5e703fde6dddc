#!/usr/bin/env python
# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Times backups and restores of a node with 1 GB of sessions, against other ways on the same files, in one run.

``bench_backup.py [MEGABYTES]`` takes another size.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from statistics import median

from backuplib import ops
from testlib import Hosts, play, ssh, ssh_command

SHARED = Path(__file__).parent
SCENARIO = SHARED.parent / "backup"
NODE = "n1.backup.test"
BARE = "n1.bare-backup.test"
# The node alone: its peer is not part of this.
LONE = ["--extra-vars", '{"erlmcp_cluster_enabled": false}']
ROUNDS = 3
ROW_BYTES = 1000

# Rows as sessions have them: JSON text with random identifiers in it.
FILL = """
-module(fill).
-export([rows/1]).
rows(Count) ->
    [row(N) || N <- lists:seq(1, Count)],
    mnesia:dump_log(),
    mnesia:table_info(erlmcp_item, size).
row(N) ->
    Id = hex(16),
    Message = fun(K) ->
        [<<"{\\"id\\":\\"">>, hex(16), <<"\\",\\"role\\":\\"user\\",\\"content\\":{\\"type\\":\\"text\\",">>,
         <<"\\"text\\":\\"message ">>,
         integer_to_binary(N * K), <<" about ">>, hex(8), <<"\\"}}">>]
    end,
    Value = iolist_to_binary([Message(K) || K <- lists:seq(1, 7)]),
    mnesia:dirty_write({erlmcp_session, Id, N, N, 1}),
    mnesia:dirty_write({erlmcp_item, {Id, integer_to_binary(N)}, Value}).
hex(Bytes) -> binary:encode_hex(crypto:strong_rand_bytes(Bytes)).
"""

# The guide's own script, as it stands there but for the directory.
GUIDE = """
DATE=$(date +%Y%m%d)
BACKUP_DIR=/bench/guide/$DATE
mkdir -p $BACKUP_DIR
cp /etc/erlmcp/sys.config $BACKUP_DIR/
cp /etc/erlmcp/vm.args $BACKUP_DIR/
cp -r /var/lib/erlmcp $BACKUP_DIR/
find /var/log/erlmcp -mtime -7 -exec cp {} $BACKUP_DIR/ \\;
tar czf /bench/guide/backup-$DATE.tar.gz $BACKUP_DIR
rm -rf $BACKUP_DIR
"""

TAR = "tar | zstd -3 -T0"
GUIDES = "the guide's backup.sh"
OURS = "erlmcp-ops backup"
# On a host whose release has no tables, and so nothing but files: the files of the other node.
FILES = {
    TAR: "tar c /var/lib/erlmcp | zstd -3 -T0 -q -f -o /bench/tar.zst",
    GUIDES: GUIDE,
    "restic": "restic -q -r /bench/r --no-cache init; restic -q -r /bench/r --no-cache backup /var/lib/erlmcp",
    "borg": "borg init -e repokey-blake2 /bench/borg; borg create /bench/borg::one /var/lib/erlmcp",
    OURS: "erlmcp-ops backup --method cold",
}
# On the node that serves. What the others would take of it is no backup.
TABLES = {
    "mnesia:backup": "erlmcp eval 'mnesia:backup(\"/var/lib/erlmcp/bench.backup\").'",
    TAR: "tar c /var/lib/erlmcp/bench.backup | zstd -3 -T0 -q -f -o /bench/tar.zst; rm /var/lib/erlmcp/bench.backup",
    OURS: "erlmcp-ops backup",
}
SECRETS = "RESTIC_PASSWORD=bench BORG_PASSPHRASE=bench BORG_RELOCATED_REPO_ACCESS_IS_OK=yes"
MEASURE = "import subprocess,sys,time; t=time.monotonic(); r=subprocess.call(sys.argv[1:]); print(time.monotonic()-t,r)"


def hosts(*arguments):
    subprocess.run([sys.executable, SHARED / "hosts.py", *arguments], check=True, stdout=subprocess.DEVNULL)


def timed(address, script):
    """Run a script on the host from a warm page cache; return seconds."""
    ssh(address, "rm -rf /bench/guide /bench/restic /bench/borg /bench/*.zst; mkdir -p /bench/guide; sync")
    command = f"cat > /bench/way.sh; export {SECRETS}; python3 -c '{MEASURE}' sh -e /bench/way.sh"
    done = ssh(address, command, typed=script, timeout=3600)
    seconds, status = done.stdout.split()[-2:]
    assert status == "0", f"{script}: {done.stdout}{done.stderr}"
    return float(seconds)


def fill(address, count):
    """Let the node store rows; the module is compiled here, since a release has no compiler, and loaded there."""
    ssh(address, "base64 -d > /var/lib/erlmcp/fill.beam", typed=compile_module())
    ssh(address, "erlmcp eval 'code:load_abs(\"/var/lib/erlmcp/fill\").'; rm /var/lib/erlmcp/fill.beam")
    for _part in range(10):
        ssh(address, f"erlmcp eval 'fill:rows({count // 10}).'", timeout=600)


def rows(address):
    return int(ssh(address, "erlmcp eval 'mnesia:table_info(erlmcp_item, size).'").stdout)


def compile_module():
    import base64
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory) / "fill.erl"
        source.write_text(FILL)
        subprocess.run(["erlc", "-o", directory, source], check=True)
        return base64.b64encode((Path(directory) / "fill.beam").read_bytes()).decode()


def copy_files(node, bare):
    """Lay the node's files down on the other host, where nothing takes them for tables."""
    ssh(node, "cp -a /var/lib/erlmcp /var/tmp/copy && mv /var/tmp/copy/mnesia/schema.DAT /var/tmp/copy/mnesia/schema")
    pack = subprocess.Popen(ssh_command(node, "tar c -C /var/tmp/copy ."), stdout=subprocess.PIPE)
    subprocess.run(ssh_command(bare, "tar x -C /var/lib/erlmcp"), stdin=pack.stdout, check=True)
    assert pack.wait() == 0
    ssh(node, "rm -r /var/tmp/copy")


def peak_memory(address, *arguments):
    """MiB that the Python process took at most; of a child one would measure Erlang and the compressor too."""
    script = (
        "import resource,runpy,sys\n"
        f"sys.argv = {['erlmcp-ops', *arguments]}\n"
        "try:\n"
        "    runpy.run_path('/usr/local/bin/erlmcp-ops', run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    assert not end.code\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    return int(ssh(address, "python3 -", typed=script, timeout=3600).stdout.split()[-1]) / 1024


def downtime(address):
    archive = ops(address, "backup", timeout=3600)[1]["archive"]
    restored = ops(address, "restore", archive, "--data-only", timeout=3600)[1]
    ssh(address, "rm -rf /var/lib/erlmcp.before-restore-*")
    return restored["downtime_seconds"]


def restart(address):
    """Seconds from the stop to healthy of a plain restart, asked as often as the restore asks."""
    script = (
        "import subprocess,time,urllib.request as u\n"
        "t=time.monotonic()\n"
        "subprocess.run(['systemctl','stop','erlmcp'],check=True)\n"
        "subprocess.run(['systemctl','start','erlmcp'],check=True)\n"
        "while True:\n"
        " try:\n"
        "  if b'\"healthy\"' in u.urlopen('http://127.0.0.1:8080/health',timeout=5).read(): break\n"
        " except OSError: pass\n"
        " time.sleep(0.1)\n"
        "print(time.monotonic()-t)\n"
    )
    return float(ssh(address, "python3 -", typed=script, timeout=600).stdout)


def compare(address, ways):
    """Return the median seconds of each way, in turns, since a machine that others use is not equally fast always."""
    times = {way: [] for way in ways}
    for _round in range(ROUNDS):
        for way, script in ways.items():
            times[way].append(timed(address, script))
        ssh(address, "rm -rf /bench; ls -t /var/backups/erlmcp/* | tail -n +3 | xargs -r rm")
    return {way: median(each) for way, each in times.items()}


def show(title, seconds, unit):
    print(f"\n{title:<44}{'seconds':>9}{'ratio':>8}")
    for way, value in seconds.items():
        print(f"{way:<44}{value:>9.2f}{value / unit:>8.2f}")


def main():
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    inventory = SCENARIO / "inventory" / "hosts.yml"
    hosts("up", inventory)
    hosts("reset", inventory)
    node, bare = Hosts(SCENARIO, "erlmcp", "pair")[NODE], Hosts(SCENARIO, "erlmcp", "bare")[BARE]
    done = play("erlmcp.ops.site", Hosts(SCENARIO, "erlmcp", "pair"), options=LONE)
    assert done.rc == 0, done.messages
    ssh(bare, "apt-get install -qy restic borgbackup", timeout=300)

    fill(node, 10 * 1024**2 // ROW_BYTES)
    small = {"restart": restart(node), "restore": downtime(node)}
    fill(node, megabytes * 1024**2 // ROW_BYTES)
    size = ssh(node, "du -sm /var/lib/erlmcp").stdout.split()[0]
    print(f"{rows(node)} items, {size} MiB of files; medians of {ROUNDS} rounds, in turns")

    tables = compare(node, TABLES)
    show("a node that serves", tables, tables["mnesia:backup"] + tables[TAR])
    print(f"peak memory of the Python process: {peak_memory(node, 'backup'):.0f} MiB")

    ssh(bare, "systemctl stop erlmcp")
    copy_files(node, bare)
    files = compare(bare, FILES)
    show("files", files, files[TAR])
    print(f"the guide's script takes {files[GUIDES] / files[OURS]:.1f} times as long as erlmcp-ops")
    print(f"peak memory of the Python process: {peak_memory(bare, 'backup', '--method', 'cold'):.0f} MiB")

    large = {"restart": restart(node), "restore": downtime(node)}
    print()
    for name, each in (("10 MB", small), (f"{megabytes} MB", large)):
        print(f"{name}: a restart takes {each['restart']:.1f} s, the restore's downtime was {each['restore']:.1f} s")


if __name__ == "__main__":
    main()
