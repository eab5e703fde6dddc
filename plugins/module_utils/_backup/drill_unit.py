# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The unit of a drill's node: the settings of the node's own unit, less those that the drill has to decide. Pure.

Lines are taken as they stand in the unit and its drop-ins, so nothing is lost of their quoting and of their order.
"""

from __future__ import annotations

import re

_SETTING = re.compile(r"\s*([A-Za-z]+)\s*=\s*(.*?)\s*")

# What the drill decides itself, by the beginning of the name.
_OWN = (
    # What is started, how it is stopped, and what follows when it ends.
    *("Type", "ExecStart", "ExecStop", "ExecReload", "ExecCondition", "Notify", "Watchdog", "Timeout", "RuntimeMax"),
    *("RuntimeRandomized", "Restart", "RemainAfterExit", "Success", "FailureAction", "StartLimit", "RebootArgument"),
    *("KillMode", "PIDFile", "GuessMainPID", "BusName", "Sockets", "FileDescriptorStore", "OpenFile", "USBFunction"),
    # As whom.
    *("User", "Group", "DynamicUser", "PAMName"),
    # With which network.
    *("PrivateNetwork", "NetworkNamespacePath", "IPAddress", "IPIngress", "IPEgress", "SocketBind", "BPFProgram"),
    "RestrictNetworkInterfaces",
    # What it can write. A runtime directory would be removed with the unit, and is that of the node which serves.
    *("ReadWrite", "ProtectSystem", "PrivateTmp", "Root", "Mount", "ExtensionImages", "ExtensionDirectories"),
    *("RuntimeDirectory", "StateDirectory", "CacheDirectory", "LogsDirectory", "ConfigurationDirectory"),
    *("StandardInput", "StandardOutput", "StandardError", "TTY", "LogNamespace", "RemoveIPC"),
    # The node that serves goes first.
    *("Nice", "OOMScoreAdjust", "CPUScheduling", "IOScheduling"),
)


def passed_on(text):
    """Return the lines of a drill's unit that are those of the node's own unit.

    :param text: what ``systemctl cat`` says: the unit, and the drop-ins in the order in which they count.
    """
    found = []
    for name, value in _service_settings(text):
        # Only to be read: it may be where the node that serves writes.
        name = "BindReadOnlyPaths" if name == "BindPaths" else name
        if not name.startswith(_OWN):
            found.append(f"{name}={value}")
    return found


def unit_text(service, taken, own):
    """Return the unit of a drill.

    :param service: name of the service whose archive is tried.
    :param taken: what :func:`passed_on` returned.
    :param own: lines that the drill adds; the last one of a name counts.
    """
    head = ["[Unit]", f"Description=restore drill of {service}", "StartLimitIntervalSec=0", "", "[Service]"]
    # What begins with a percent sign would be replaced.
    return "\n".join([*head, *taken, *(line.replace("%", "%%") for line in own), ""])


def _service_settings(text):
    """Yield (name, value) of the sections [Service]; a value that goes on in the next line is one line here."""
    section, begun = "", ""
    for line in text.splitlines():
        if line.lstrip().startswith(("#", ";")):
            continue
        whole = f"{begun}{line}"
        begun = f"{whole[:-1]} " if whole.endswith("\\") else ""
        if begun:
            continue
        if whole.strip().startswith("["):
            section = whole.strip()
        elif section == "[Service]" and (match := _SETTING.fullmatch(whole)):
            yield match.groups()
