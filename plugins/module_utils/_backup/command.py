# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``erlmcp-ops``: the modules' actions for a timer, and for an operator on the host.

The role writes down once what is true for the host; the command line says what is wanted now.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import signal
import sys
import time
from dataclasses import dataclass, field

from .._core.errors import OpsError, system_error
from .._core.module import take_no_umask
from .._core.runner import Runner
from .spec import SPECS

SETTINGS_DIR = "/etc/erlmcp-ops"
EXIT_FAILED, EXIT_LOCKED, EXIT_NOT_ROOT, EXIT_TERMINATED = 1, 75, 77, 143

_FAILED_SPEC = {"metrics_dir": {"type": "str", "default": ""}, "failure_command": {"type": "str"}}
_KNOWN = {*_FAILED_SPEC, *(name for spec in SPECS.values() for name in spec)}
_TYPES = {"str": str, "path": str, "int": int, "bool": bool, "list": list, "dict": dict}
_FAILURE_COMMAND_SECONDS = 600
_EPILOG = f"""
What a run does meanwhile: journalctl -ft erlmcp-backup, or -ft erlmcp-restore.
Exit status: 0 done, {EXIT_FAILED} refused or failed, 2 usage, {EXIT_LOCKED} another run is at work,
{EXIT_NOT_ROOT} not root.
"""


@dataclass
class Call:
    """What an action needs of a module."""

    params: dict
    check_mode: bool = False
    no_log_values: set = field(default_factory=set)


@dataclass(frozen=True)
class Verb:
    """An action and how its result is told.

    :param action: (option spec, module of this package, function).
    :param tell: a function from the result to lines.
    :param not_from_settings: options that mean something else in the settings of the host.
    """

    action: tuple
    tell: object
    not_from_settings: frozenset = frozenset()


def main():
    """Run the command line of this process, and exit."""
    # A connection that breaks must not end a restore between stop and start.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # What must be undone, like a node that was stopped for a copy, is.
    signal.signal(signal.SIGTERM, _terminate)
    take_no_umask()
    raise SystemExit(run(sys.argv[1:], Runner()))


def _terminate(_number, _frame):
    raise SystemExit(EXIT_TERMINATED)


def run(argv, runner):
    """Run one command line.

    :param argv: list of strings, without the name of the program.
    :return: the exit status.
    """
    arguments = parser().parse_args(argv)
    if os.geteuid() != 0:
        _complain("run me as root: data, units and archives are not yours")
        return EXIT_NOT_ROOT
    try:
        _carry_out(arguments, runner)
    except OpsError as error:
        _complain(error)
        return EXIT_LOCKED if error.kind == "locked" else EXIT_FAILED
    except OSError as error:
        _complain(system_error(error))
        return EXIT_FAILED
    return 0


def _carry_out(arguments, runner):
    path = arguments.settings or f"{SETTINGS_DIR}/{arguments.settings_name}.json"
    if arguments.verb == "failed":
        tell_of_failure(path, runner)
        return
    verb = VERBS[arguments.verb]
    spec, module, function = verb.action
    settings = {name: value for name, value in read_settings(path).items() if name not in verb.not_from_settings}
    call = Call(options_for(SPECS[spec], {**settings, **_said(arguments, SPECS[spec])}, path), arguments.check)
    if call.params.get("identity"):
        call.no_log_values.add(call.params["identity"])
    # Only what the verb needs: nothing is compiled beforehand.
    action = getattr(importlib.import_module(f".{module}", __package__), function)
    _show(verb, action(call, runner), arguments)


# What is true for the host


def read_settings(path):
    """Return the settings of a service, a dict of option names of any module.

    :raises OpsError: naming the file, and the key that no module has.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            settings = json.load(stream)
    except FileNotFoundError as missing:
        raise OpsError(
            f"there is no {path}: run the playbook site, or name another with --settings or --service", kind="settings"
        ) from missing
    except (OSError, ValueError) as error:
        raise OpsError(f"{path} cannot be read: {error}", kind="settings") from error
    if not isinstance(settings, dict):
        raise OpsError(f"{path} holds no JSON object", kind="settings")
    for name in settings:
        if name not in _KNOWN:
            raise OpsError(f"{path}: there is no option {name}: correct it, or run the playbook site", kind="settings")
    return settings


def options_for(spec, given, path):
    """Return the options of an action as Ansible would hand them over.

    :param spec: an argument spec.
    :param given: option name to value; names that are not in the spec are left out.
    :param path: where they are from.
    :raises OpsError: naming the file and the option.
    """
    return {name: _option(each, given.get(name), name, path) for name, each in spec.items()}


def _option(spec, value, name, path):
    if value is None:
        value = spec.get("default")
    if value is None:
        if spec.get("required"):
            raise OpsError(f"{path}: {name} is missing: run the playbook site", kind="settings")
        return None
    kind = spec["type"]
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "bool"):
        raise OpsError(f"{path}: {name} is not of type {kind}", kind="settings")
    if kind == "list":
        element = {"type": spec["elements"], "choices": spec.get("choices"), "required": True}
        return [_option(element, each, f"{name}[{number}]", path) for number, each in enumerate(value)]
    if kind == "dict" and "options" in spec:
        for key in value:
            if key not in spec["options"]:
                raise OpsError(f"{path}: there is no option {name}.{key}", kind="settings")
        return {key: _option(each, value.get(key), f"{name}.{key}", path) for key, each in spec["options"].items()}
    if spec.get("choices") and value not in spec["choices"]:
        raise OpsError(f"{path}: {name} is {value!r}, and not one of {', '.join(spec['choices'])}", kind="settings")
    return value


# What is wanted now


def parser():
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="erlmcp-ops",
        description="Backups and restores of the erlmcp node on this host.",
        epilog=_EPILOG,
        parents=[_common()],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.set_defaults(settings=None, settings_name="erlmcp", check=False, json=False)
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)

    def add(name, text=None):
        # Without a text it is not listed.
        described = {} if text is None else {"help": text, "description": text}
        return verbs.add_parser(name, parents=[_common()], argument_default=argparse.SUPPRESS, **described)

    backup = add("backup", "make an archive")
    backup.add_argument("--method", choices=SPECS["backup"]["method"]["choices"], help="instead of the configured one")
    add("list", "list archives, and what restores have moved aside")
    verify = add("verify", "prove that an archive can be restored, without touching the node")
    _add_archive(verify, nargs="?")
    _add_trust(verify)
    verify.add_argument("--all", action="store_true", help="every archive of the store")
    verify.add_argument("--level", choices=SPECS["backup_verify"]["level"]["choices"], help="every byte, or rows too")
    add("prune", "remove archives that the retention does not keep")
    _add_archive(add("copy", "copy an archive away and prove it there"), nargs="?")
    _add_restore(add("restore", "bring an archive into service, or leave everything as it was"))
    drill = add("drill", "try an archive with a throw-away node")
    _add_archive(drill, nargs="?")
    _add_trust(drill)
    add("failed")
    return top


def _common():
    """What may be said before the verb or behind it."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    which = common.add_mutually_exclusive_group()
    which.add_argument("--settings", metavar="FILE", help=f"settings of the service ({SETTINGS_DIR}/erlmcp.json)")
    which.add_argument("--service", dest="settings_name", metavar="NAME", help=f"settings {SETTINGS_DIR}/NAME.json")
    common.add_argument("--check", action="store_true", help="say what would be done, and change nothing")
    common.add_argument("--json", action="store_true", help="print the whole result as JSON")
    return common


def _add_archive(verb, **options):
    verb.add_argument("archive", metavar="ARCHIVE", help="name, path, or latest", **options)


def _add_trust(verb):
    verb.add_argument("--identity-file", metavar="FILE", help="age identity for an encrypted archive; - reads it here")
    verb.add_argument(
        "--unsigned",
        dest="signers",
        action="store_const",
        const=[],
        help="also an archive that none of the signers in the settings has signed",
    )


def _add_restore(verb):
    what = verb.add_mutually_exclusive_group(required=True)
    _add_archive(what, nargs="?")
    what.add_argument(
        "--undo",
        dest="state",
        action="store_const",
        const="reverted",
        help="put back what the last restore moved aside",
    )
    part = verb.add_mutually_exclusive_group()
    part.add_argument("--data-only", dest="members", action="store_const", const=["data"])
    part.add_argument("--config-only", dest="members", action="store_const", const=["config"])
    _add_trust(verb)
    verb.add_argument("--allow-newer", action="store_true", help="also an archive of a newer release or Erlang")
    verb.add_argument(
        "--node-name",
        dest="node_map",
        metavar="OLD=NEW",
        action="append",
        type=_pair,
        help="the archive's node OLD is NEW now; may be repeated",
    )


def _pair(text):
    old, equals, new = text.partition("=")
    if not (old and equals and new):
        raise argparse.ArgumentTypeError(f"{text!r} is not OLD=NEW, two node names")
    return old, new


def _said(arguments, spec):
    """Return the options of an action that the command line gives."""
    said = {name: value for name, value in vars(arguments).items() if name in spec and value is not None}
    if "node_map" in said:
        said["node_map"] = dict(said["node_map"])
    if "identity_file" in arguments:
        said["identity"] = _read_identity(arguments.identity_file)
    return said


def _read_identity(path):
    if path == "-":
        return sys.stdin.read()
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except (OSError, ValueError) as error:
        raise OpsError(f"--identity-file: {path} cannot be read: {error}", kind="input") from error


# What came of it


def _show(verb, result, arguments):
    shown = {name: value for name, value in result.items() if name != "ansible_facts"}
    if arguments.json:
        _print(json.dumps(shown, indent=2))
        return
    if not arguments.check:
        lines = verb.tell(shown)
    elif "steps" in shown:
        lines = ["A run would:", *(f"- {step}" for step in shown["steps"])]
    else:
        lines = ["Nothing was changed. A run would end like this:", *verb.tell(shown)]
    _print("\n".join(lines))
    for warning in shown.get("warnings") or []:
        _complain(f"warning: {warning}")


def _print(text):
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except OSError:
        # Whoever read it is gone; what was done is done. Python would complain again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(text):
    sys.stderr.write(f"erlmcp-ops: {text}\n")


def _tell_backup(result):
    stopped = result["downtime_seconds"]
    return [
        f"{result['archive']}: {_size(result['size'])} in {result['seconds']} s, {_rows(result['tables'])}"
        + (f", the node was down for {stopped} s" if stopped else "")
    ]


def _tell_list(result):
    rows = [("ARCHIVE", "SIZE", "VERIFIED", "COPIED TO", "PROBLEM")]
    for each in result["backups"]:
        verified, copied = each["verified"] or {}, each["copied"] or {}
        rows.append(
            (
                each["name"],
                _size(each["size"]),
                verified.get("level", "-"),
                copied.get("destination", "-"),
                each["problem"] or "-",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        *("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows),
        *(f"moved aside: {each['path']}, {_size(each['size'])}" for each in result["safety_copies"]),
    ]


def _tell_verify(result):
    return [f"{each['archive']}: good ({each['level']}), {_rows(each['tables'])}" for each in result["results"]]


def _tell_prune(result):
    gone = [*result["removed"], *result["removed_safety_copies"]]
    return [*(f"removed: {each}" for each in gone), f"{len(result['kept'])} kept, {_size(result['freed_bytes'])} freed"]


def _tell_copy(result):
    how = "copied to and proven at" if result["changed"] else "was proven before to be at"
    return [f"{result['archive']} {how} {result['destination']}"]


def _tell_restore(result):
    what = f"{result['archive']} is in service" if result["archive"] else "what was there before is back in service"
    kept = f"; what it replaced is kept in {result['safety_copy']}" if result["safety_copy"] else ""
    return [f"{what}, the node was down for {result['downtime_seconds']} s{kept}"]


def _tell_drill(result):
    return [
        f"{result['archive']}: healthy after {result['start_seconds']} s, {_rows(result['tables'])}; "
        f"{result['seconds']} s in all"
    ]


def _rows(tables):
    return f"{sum(table['rows'] for table in tables)} rows in {len(tables)} tables"


def _size(number):
    return f"{number / 1024**2:.1f} MiB"


VERBS = {
    "backup": Verb(("backup", "backup", "backup"), _tell_backup),
    # Its host is for whose latest is meant; a list shows all.
    "list": Verb(("backup_info", "info", "backup_info"), _tell_list, frozenset(["host"])),
    "verify": Verb(("backup_verify", "verify", "backup_verify"), _tell_verify),
    "prune": Verb(("backup_prune", "prune", "backup_prune"), _tell_prune),
    "copy": Verb(("backup_copy", "copy", "backup_copy"), _tell_copy),
    # The members of the settings are those of a backup.
    "restore": Verb(("restore", "restore", "restore"), _tell_restore, frozenset(["members"])),
    "drill": Verb(("restore_drill", "drill", "restore_drill"), _tell_drill),
}


def tell_of_failure(path, runner):
    """Tell of a scheduled run that failed: to the journal, to Prometheus, and to the command of the settings.

    :param path: of the settings; the journal is told whatever they are like.
    :raises OpsError: when the command fails.
    """
    from .metrics import write_metrics

    service = os.path.basename(path)[: -len(".json")]
    unit = f"{service}-backup.service"
    message = (
        f"The scheduled backup of {service} on host {platform.node()} failed: there is no new archive that is proven "
        f"and copied. Read why with: journalctl -n 50 -u {unit}; then remove the cause and run: systemctl start {unit}"
    )
    # systemd takes the number for the priority "critical".
    _print(f"<2>{message}")
    options = options_for(_FAILED_SPEC, read_settings(path), path)
    write_metrics(options["metrics_dir"], {"erlmcp_backup_last_failure_timestamp_seconds": time.time()})
    if options["failure_command"]:
        done = runner.run(
            ["/bin/sh", "-c", options["failure_command"]], stdin=f"{message}\n", timeout=_FAILURE_COMMAND_SECONDS
        )
        if not done.ok:
            raise OpsError(
                f"erlmcp_backup_failure_command ended with status {done.rc}: {done.err.strip()}", kind="command"
            )
