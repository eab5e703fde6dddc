# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page of ``check_health``: one verdict for each host, with its cause, a line of the journal, and the command.

What one host lacks because another one is down is told once, of the one that is down.
"""

from __future__ import annotations

from .row import CRIT, KEEPS_FROM_STARTING, LAID_DOWN, OK, OTHER_NODE, UNKNOWN, WARN, Row

# The worst first. What could not be looked at may be anything.
_BY_WEIGHT = (CRIT, UNKNOWN, WARN, OK)
# What the administration guide takes for the end of the capacity.
_NEAR = 0.9
_JOURNAL_LINES = 3
_LINE_LENGTH = 200


def make_page(nodes, balancers, names):
    """Return what the filter ``health_page`` documents.

    :param nodes: host to ``node``, what module ``node_ready`` returned, and ``firewall``, what module ``firewall``
        did, or ``None``.
    :param balancers: host to what module ``balancer_info`` returned.
    :param names: host to the name of its node.
    """
    down = {names[host]: host for host, seen in nodes.items() if not _was_asked(seen["node"]) or _is_down(seen["node"])}
    verdicts = [_verdict(host, _node_rows(seen, down), _node_line(seen, down), seen) for host, seen in nodes.items()]
    verdicts += [
        _verdict(host, _balancer_rows(seen, down.values()), _balancer_line(seen), {"node": {}})
        for host, seen in balancers.items()
    ]
    counts = {state: sum(each["state"] == state for each in verdicts) for state in _BY_WEIGHT}
    told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return {
        "failed": bool(counts[CRIT] + counts[UNKNOWN]),
        "hosts": {each["host"]: each for each in verdicts},
        "text": [line for each in verdicts for line in each["text"]] + [f"{len(verdicts)} hosts: {told}"],
    }


def _verdict(host, rows, line, seen):
    state = min((row.state for row in rows), key=_BY_WEIGHT.index, default=OK)
    rows = sorted(rows, key=lambda row: _BY_WEIGHT.index(row.state))
    text = [f"{state:<8}{host}: {line}"] if state in (OK, WARN) else []
    for number, row in enumerate(rows):
        text.append(f"{row.state:<8}{host}: {row.code}: {row.evidence}")
        if number == 0 and row.state == CRIT:
            text += [
                f"        journal: {each[:_LINE_LENGTH]}" for each in seen["node"].get("journal", [])[:_JOURNAL_LINES]
            ]
        text.append(f"        do: {row.remedy}".replace("{host}", host))
    return {"host": host, "state": state, "checks": [row.as_dict() for row in rows], "text": text}


def _was_asked(found):
    return "health" in found or "servers" in found


def _is_down(node):
    return not node["health"]["healthy"]


def _not_asked(found):
    if found.get("unreachable"):
        return Row(
            "ERLMCP_UNREACHABLE",
            UNKNOWN,
            f"the host cannot be reached, so nothing is known of it: {_one_line(found.get('msg'))}",
            "Look whether it runs, and at its network and sshd; then run this again",
        )
    return Row(
        "ERLMCP_NOT_LOOKED_AT",
        UNKNOWN,
        f"the host could not be looked at: {_one_line(found.get('msg'))}",
        "Do what that says; then run this again",
    )


def _one_line(text):
    return " ".join(str(text or "see above").split())[:500]


def _node_rows(seen, down):
    node = seen["node"]
    if not _was_asked(node):
        return [_not_asked(node)]
    checks = [Row(**row) for row in node["checks"]]
    causes = [row for row in checks if row.code in KEEPS_FROM_STARTING]
    if OTHER_NODE in (row.code for row in causes):
        return causes
    rows = [*causes, *_health(node), *_company(node, down), *(row for row in checks if row not in causes)]
    rows += _certificate(node["certificate"])
    firewall = seen["firewall"]
    if firewall is not None:
        rows += _firewall(firewall)
    effects = _effects({row.code for row in causes})
    return [row for row in rows if row.code not in effects]


def _effects(causes):
    """Return the codes of what is so only because of ``causes``, and is gone with them."""
    effects = set()
    if causes.intersection(LAID_DOWN):
        # Without its cookie, its config or its programs nobody can ask it.
        effects.add("ERLMCP_DISTRIBUTION")
    if "ERLMCP_CONFIG_BROKEN" in causes:
        effects.add("ERLMCP_RESTART_DUE")
    return effects


def _certificate(found):
    if not found or not found["due"]:
        return []
    left = found["days_left"]
    if left is None:
        what = "the certificate is missing, or cannot be read"
    elif left < 0:
        what = f"the certificate has ended {-left} days ago"
    else:
        what = f"the certificate ends in {left} days"
    state = WARN if left is not None and left >= 0 else CRIT
    return [Row("ERLMCP_CERTIFICATE", state, what, "ansible-playbook erlmcp.ops.rotate_tls")]


def _health(node):
    health = node["health"]
    if not node["running"]:
        yield Row(
            "ERLMCP_NODE_DOWN",
            CRIT,
            health["detail"],
            "Once its cause is mended: ansible-playbook erlmcp.ops.site --limit {host}",
        )
    elif (node["store"] or {}).get("waiting"):
        yield Row(
            "ERLMCP_NODE_WAITS",
            CRIT,
            health["detail"],
            "Start nobody yet. What to do so that no row is lost, tells: ansible-playbook erlmcp.ops.repair_partition",
        )
    elif not health["healthy"]:
        yield Row(
            "ERLMCP_NODE_UNHEALTHY",
            CRIT,
            f"{node['name']} is not healthy: {health['detail']}",
            "Once its cause is mended: ansible-playbook erlmcp.ops.restart -e erlmcp_cluster_force=true --limit {host}",
        )


def _company(node, down):
    """What others are to this node, as far as it is not another one that is down."""
    missing = sorted(set(node["missing_members"]) - set(down))
    apart = sorted(set(node["not_sharing"]) - set(down) - set(missing))
    if node["epmd_error"]:
        yield Row(
            "ERLMCP_EPMD",
            CRIT,
            f"{node['name']} cannot be found by others: {node['epmd_error']}",
            "ansible-playbook erlmcp.ops.site --limit {host}",
        )
    elif not node["health"]["healthy"]:
        return
    elif node["distribution_error"]:
        yield Row(
            "ERLMCP_DISTRIBUTION",
            CRIT,
            f"{node['name']} serves, and cannot be asked: {node['distribution_error']}",
            "ansible-playbook erlmcp.ops.site --limit {host} says or does what puts that right",
        )
    elif missing:
        yield Row(
            "ERLMCP_MEMBERS_MISSING",
            CRIT,
            f"{node['name']} does not see {', '.join(missing)} (it sees {', '.join(node['members'])})",
            "If they run, the network between them is cut, or a firewall is in the way: mend that. Then "
            "ansible-playbook erlmcp.ops.repair_partition --check tells what else is to be done",
        )
    if apart and node["health"]["healthy"]:
        store = node["store"]
        yield Row(
            "ERLMCP_TABLES_NOT_SHARED",
            CRIT,
            f"{node['name']} does not share its tables with {', '.join(apart)} (its schema has "
            f"{', '.join(store['members'])}, of which it takes {', '.join(store['running']) or 'none'} for running)",
            "ansible-playbook erlmcp.ops.repair_partition --check tells what is to be done; one that has never joined: "
            "ansible-playbook erlmcp.ops.site",
        )


def _firewall(found):
    if "pending" not in found:
        yield _not_asked(found)
    elif found["pending"]:
        yield Row(
            "ERLMCP_FIREWALL_DIFFERS",
            CRIT,
            f"the firewall ({found['backend']}) does not let in what the inventory says, and nothing else: "
            f"{_changes(found)}",
            "ansible-playbook erlmcp.ops.site --limit {host} --tags erlmcp_firewall",
        )


def _changes(found):
    names = [f"{verb} {rule['name']}" for verb, key in (("lacks", "added"), ("has", "removed")) for rule in found[key]]
    if not found["installed"]:
        return "it is not installed"
    return "it " + ", ".join(names[:5]) if names else "it is off, or its default lets everything in"


def _node_line(seen, down):
    node = seen["node"]
    if not _was_asked(node):
        return ""
    lost = sorted(set(node["missing_members"]).intersection(down))
    told = f", not {' '.join(lost)} (see there)" if lost else ""
    return (
        f"{node['name']}: release {node['release']['running']}, healthy (level {node['health']['level']} answered), "
        f"sees {' '.join(node['members'])}{told}"
    )


def _balancer_rows(seen, lost):
    if not _was_asked(seen):
        return [_not_asked(seen)]
    site = "ansible-playbook erlmcp.ops.site --limit {host}"
    if not seen["running"]:
        unit = seen["unit"]
        return [
            Row(
                "ERLMCP_BALANCER_DOWN",
                CRIT,
                f"haproxy.service is {unit['active']} ({unit['result']}): journalctl -u haproxy tells why",
                f"{site}. Until then: systemctl start haproxy",
            )
        ]
    rows = []
    if seen["edited"]:
        rows.append(Row("ERLMCP_BALANCER_EDITED", CRIT, "haproxy.cfg was edited by hand, or is not ours", site))
    if seen["version"] != seen["laid_down"]:
        evidence = "HAProxy runs another configuration than the one on disk" if seen["version"] else "HAProxy is silent"
        rows.append(Row("ERLMCP_BALANCER_OUTDATED", CRIT, evidence, site))
    if seen["differs"]:
        rows.append(Row("ERLMCP_BALANCER_SERVERS", CRIT, "; ".join(seen["differs"]), site))
    rows += _sessions(seen["sessions"])
    return [*rows, *_servers(seen["servers"], lost, site), *_certificate(seen["certificate"])]


def _sessions(found):
    if found and found["current"] >= _NEAR * found["limit"]:
        yield Row(
            "ERLMCP_BALANCER_FULL",
            CRIT,
            f"HAProxy has {found['current']} connections, and takes {found['limit']}: further clients wait",
            "Add nodes (put new hosts into the inventory, then: ansible-playbook erlmcp.ops.site), or, where the nodes "
            "can take more, raise erlmcp_load_balancer_maxconn and run the same",
        )


def _servers(servers, lost, site):
    for state, code, told, remedy in (
        (
            "drained",
            "ERLMCP_SERVER_DRAINED",
            "get nothing new, as during a restart",
            f"Unless a run is at work: {site}",
        ),
        (
            "maintenance",
            "ERLMCP_SERVER_MAINTENANCE",
            "were taken out by hand",
            "Ask who did that. On the balancer: echo 'set server BACKEND/NAME state ready' | "
            "nc -N -U /run/haproxy/erlmcp.sock",
        ),
    ):
        names = _named(each for each in servers if each[state])
        if names:
            yield Row(code, WARN, f"{names} {told}", remedy)
    names = _named(each for each in servers if not each["up"] and not each["maintenance"] and each["name"] not in lost)
    if names:
        yield Row(
            "ERLMCP_SERVER_DOWN",
            CRIT,
            f"HAProxy does not reach {names}, or finds it not healthy",
            "See the node above. If it is healthy there, the network or its firewall keeps the balancer out "
            "(erlmcp_firewall_client_addresses)",
        )


def _named(servers):
    return ", ".join(f"{each['backend']}/{each['name']}" for each in servers)


def _balancer_line(seen):
    servers = seen.get("servers", [])
    return f"HAProxy runs, {sum(each['up'] for each in servers)} of {len(servers)} servers are up"
