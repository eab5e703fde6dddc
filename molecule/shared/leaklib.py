# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where secrets that are known to a test come to light: in output, lists of processes, journals and files."""

from __future__ import annotations

import base64
import json
import os
from contextlib import suppress
from pathlib import Path

from testlib import Threads, ssh

# Whatever a private key is written in.
KEY_MARK = "PRIVATE KEY-----"


def forms(secret):
    """Return the secret as it is, as programs escape it, and what base64 makes of it wherever it stands in a text."""
    raw = secret.encode()
    quoted = json.dumps(secret, ensure_ascii=False)[1:-1]
    # Erlang writes other characters than those of ASCII as they are, or as a number.
    numbered = "".join(each if each.isascii() else f"\\x{{{ord(each):X}}}" for each in quoted)
    in_shell = secret.replace("'", "'\"'\"'")
    escaped = (quoted, numbered, in_shell, json.dumps(secret)[1:-1], repr(secret)[1:-1])
    found = {raw, *(text.encode() for text in escaped)}
    for offset in range(3):
        # Its ends depend on what stands beside the secret.
        found.add(base64.b64encode(b"\0" * offset + raw)[4:-4])
    return found


class Secrets:
    """Values that must not be seen, by their names.

    >>> Secrets({"cookie": "abc"}).found_in(b"... abc ...")
    {'cookie'}
    """

    def __init__(self, values):
        assert all(len(value) >= 16 for value in values.values()), "too short to be told from chance"
        self.patterns = {name: forms(value) for name, value in values.items()}

    def found_in(self, data):
        """Return the names of those that are in ``data``, bytes or text."""
        data = data.encode() if isinstance(data, str) else data
        return {name for name, patterns in self.patterns.items() if any(pattern in data for pattern in patterns)}


class ProcessWatch(Threads):
    """Reads arguments and environment of every new process of this machine, and so of its test hosts, all the time.

    >>> with ProcessWatch(secrets) as watch: ...
    >>> assert watch.seen > 100 and not watch.found, watch.found

    ``found``: (name of a secret, arguments that hold it). ``in_environment``: (name of a secret, arguments of a process
    whose environment holds it).
    """

    def __init__(self, secrets, interval=0.04):
        """:param interval: seconds between two looks. A process may live shorter, but hardly all of its kind do."""
        self.secrets = secrets
        self.interval = interval
        self.seen = 0
        self.found = set()
        self.in_environment = set()
        super().__init__(self._look_on, [()])

    def _look_on(self):
        # A process that was forked shows the arguments of its parent until it has begun its own program.
        looks = {}
        while not self.stopped.wait(self.interval):
            looks = {number: looks.get(number, 0) + 1 for number in os.listdir("/proc") if number.isdigit()}
            for number in (number for number, count in looks.items() if count < 5):
                self._look_at(number)

    def _look_at(self, number):
        with suppress(OSError):
            arguments = Path("/proc", number, "cmdline").read_bytes()
            environment = Path("/proc", number, "environ").read_bytes()
            self.seen += 1
            shown = arguments.replace(b"\0", b" ").decode(errors="replace")[:200]
            self.found |= {(name, shown) for name in self.secrets.found_in(arguments)}
            self.in_environment |= {(name, shown) for name in self.secrets.found_in(environment)}


_SEARCH = """
import json, os, stat, subprocess, sys
secrets = {name: [bytes.fromhex(each) for each in forms] for name, forms in json.load(sys.stdin).items()}
def named(data):
    return [name for name, forms in secrets.items() if any(each in data for each in forms)]
found = []
for top in sys.argv[1:]:
    for directory, below, files in os.walk(top):
        below[:] = [each for each in below if not os.path.join(directory, each).endswith("/log/journal")]
        for path in (os.path.join(directory, each) for each in files):
            try:
                facts = os.lstat(path)
                if stat.S_ISREG(facts.st_mode) and facts.st_size < 2 ** 26:
                    with open(path, "rb") as file:
                        found += [[name, path, oct(facts.st_mode & 0o777)] for name in named(file.read())]
            except OSError:
                pass
journal = subprocess.run(["journalctl", "-a", "-o", "export", "--no-pager"], stdout=subprocess.PIPE).stdout
print(json.dumps({"files": found, "journal": named(journal), "journal_bytes": len(journal)}))
"""
_TOPS = ("/dev/shm", "/etc", "/home", "/opt", "/root", "/run", "/srv", "/tmp", "/usr/local", "/var")


def search_host(address, secrets):
    """Look into the journal and the files of a host.

    :return: dict with ``files``, tuples of a secret's name, a path and a mode; ``journal``, names; ``journal_bytes``.
    """
    patterns = {name: [each.hex() for each in forms] for name, forms in secrets.patterns.items()}
    # The program is no secret; the patterns are, so they come on standard input.
    quoted = _SEARCH.replace("'", "'\\''")
    found = json.loads(
        ssh(address, f"python3 -c '{quoted}' {' '.join(_TOPS)}", json.dumps(patterns), timeout=300).stdout
    )
    return {**found, "files": sorted(map(tuple, found["files"]))}


def search_here(directory, secrets):
    """Return (name, path) of every file below a directory of this machine that holds a secret."""
    return sorted(
        (name, str(path))
        for path in Path(directory).rglob("*")
        if path.is_file()
        for name in secrets.found_in(path.read_bytes())
    )
