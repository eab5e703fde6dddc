# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Archives as files, for the tests of what only looks at what stands beside them."""

from __future__ import annotations

import hashlib
import json
import os


def name_of(time="20260131T020000Z", host="n1.example.org"):
    return f"erlmcp-{host}-{time}.tar.zst"


def beside(name, content=b"archive", host="n1.example.org"):
    """What stands in the file beside an archive."""
    identifier = name.partition(".tar")[0]
    manifest = {
        "format": 1,
        "id": identifier,
        "host": host,
        "service": "erlmcp",
        "node": {"name": f"erlmcp@{host}", "name_type": "long"},
        "versions": {"release": "1.0.0", "otp": "27", "erts": "15.0", "applications": {}},
        "method": "hot",
        "members": ["config", "data"],
        "started": "2026-01-31T02:00:00Z",
        "finished": "2026-01-31T02:00:05Z",
        "mnesia": {"dir": "mnesia", "db_nodes": [f"erlmcp@{host}"]},
        "tables": [
            {
                "kind": "mnesia",
                "name": "item",
                "rows": 3,
                "type": "set",
                "storage": "disc_copies",
                "nodes": [f"erlmcp@{host}"],
            }
        ],
        "files": [{"name": "mnesia.backup", "size": 1, "sha256": "0" * 64, "mode": 0o640, "mtime": 1}],
    }
    facts = {"name": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return {"archive": facts, "manifest": manifest}


def publish(store, time="20260131T020000Z", host="n1.example.org", content=b"archive"):
    """Let ``store`` publish an archive; return its name."""
    name = name_of(time, host)
    with open(store.part_path(name), "xb") as stream:
        stream.write(content)
    store.publish(name, beside(name, content, host))
    return name


def verify(store, name):
    """Mark an archive as verified."""
    with open(os.path.join(store.root, f"{name}.json"), encoding="utf-8") as stream:
        sha256 = json.load(stream)["archive"]["sha256"]
    store.mark(name, "verified", {"level": "tables", "sha256": sha256, "time": "2026-01-31T03:00:00Z"})
