# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a release brings in its own ``vm.args`` and ``sys.config``, and what of it a config set lacks or takes over.

Values of ``sys.config`` are compared and copied as source text. So the same release always gives the same bytes, and no
Erlang has to start for that in a run that changes nothing; the release's own Erlang judges what was merged.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

from .._core.errors import OpsError
from .._core.files import read_if_there
from .._erlang.terms import TermError, format_term, parse, parse_sections
from .env_sh import environment
from .vm_args import HEART, arguments, quote, tokens

FILES = ("vm.args", "vm.args.src", "sys.config", "sys.config.src")
# What decides who the node is, with whom it talks and how it is started is the collection's.
_DECIDED = frozenset(
    "-name -sname -setcookie -config -configfd -args_file -boot -boot_var -mode -embedded -interactive -noshell "
    "-noinput -detached -start_epmd -epmd_module -erl_epmd_port -proto_dist -ssl_dist_opt -ssl_dist_optfile "
    "-dist_listen -hidden -connect_all -remsh -home -root -progname".split()
)
_DECIDED_OF_KERNEL = frozenset(
    "inet_dist_listen_min inet_dist_listen_max sync_nodes_mandatory sync_nodes_optional sync_nodes_timeout".split()
)
_UNBOUND = "name it in erlmcp_node_vm_args, by which the sandbox lets the call through that binds schedulers to cores"
_STAYS_OUT = {"-heart": HEART, "+sbt": _UNBOUND, "+stbt": _UNBOUND}
# Each of them counts, also when it is there several times.
_REPEATED = frozenset(("-pa", "-pz", "-s", "-run", "-eval"))
_NO_PAIRS = _REPEATED | {"-path", "-hosts", "-loader", "-id"}
_VALUE_BEHIND = re.compile(r"(\+[A-Za-z]+)([0-9][0-9:]*)")
_END_OF_FLAGS = ("-extra", "--")

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
# An atom, so that the rest can be read.
_UNRESOLVED = re.compile(r"unresolved@([A-Za-z0-9_]+)@")
_COMMENT = "of the release's own"
_SHOWN = 10


@dataclass(frozen=True)
class OwnFiles:
    """The files of a release that relx would start it with.

    :param files: file name, which may end in ``.src``, to its text.
    """

    version: str
    files: dict

    def named(self, name):
        """Return (file name, text) of ``vm.args`` or ``sys.config``."""
        return next(((file, self.files[file]) for file in (f"{name}.src", name) if file in self.files), (name, ""))


@dataclass(frozen=True)
class Contents:
    """What is set.

    :param flags: what tells a flag from the others, a tuple, to all of its words.
    :param settings: (application, key) to the source text of the value.
    """

    flags: dict = field(default_factory=dict)
    settings: dict = field(default_factory=dict)

    def value(self, flag):
        """Return the value that a flag of another ``vm.args`` has here, ``None`` where it has none."""
        if flag in self.flags:
            return self.flags[flag][-1]
        return self.settings.get((flag[0][1:], flag[-1])) if len(flag) == 2 else None

    def setting(self, setting):
        """Return the source text that a setting of another ``sys.config`` has here. A flag goes before."""
        words = self.flags.get((f"-{setting[0]}", setting[1]))
        return words[-1] if words else self.settings.get(setting)


def own_files(root):
    """Return the :class:`OwnFiles` of the release unpacked at ``root``, or ``None`` where there is none."""
    words = (read_if_there(os.path.join(root, "releases", "start_erl.data")) or b"").split()
    if len(words) != 2:
        return None
    version = words[1].decode("ascii", "replace")
    found = {}
    for name in FILES:
        content = read_if_there(os.path.join(root, "releases", version, name))
        if content is not None:
            found[name] = decoded(content)
    return OwnFiles(version, found)


def decoded(content):
    """Return the text of a file that somebody else has written."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def brought(own, env_sh):
    """Return the :class:`Contents` of a release's own files, variables replaced as the start script would.

    A variable that nothing gives a value is kept in a form that :func:`merged` refuses.

    :param own: the :class:`OwnFiles`.
    :param env_sh: text of ``env.sh``.
    :raises OpsError: naming the file that cannot be read.
    """
    variables = environment(env_sh)
    file, text = own.named("vm.args")
    try:
        flags = _flags(_resolved(text, variables))
    except OpsError as error:
        raise _unreadable(own, file, str(error)) from error
    file, text = own.named("sys.config")
    try:
        sections = parse_sections(_resolved(text, variables)) if text.strip() else None
    except TermError as error:
        raise _unreadable(own, file, str(error)) from error
    if sections and sections.includes:
        raise _unreadable(own, file, f"it includes {', '.join(sections.includes)}")
    return Contents(flags, _settings(sections) if sections else {})


def contents(files):
    """Return the :class:`Contents` of a config set.

    :param files: file name to bytes, or to ``None`` for one that is missing.
    :raises OpsError: for a file that cannot be read.
    """
    try:
        sections = parse_sections(decoded(files["sys.config"] or b"[]."))
    except TermError as error:
        raise OpsError(
            f"sys.config {error}, so it cannot be compared with the release's own: see erlmcp_node_config and "
            "erlmcp_node_config_terms",
            kind="config",
        ) from error
    return Contents(_flags(decoded(files["vm.args"] or b"")), _settings(sections))


def lacking(theirs, ours):
    """Return the :class:`Contents` that a release brings and a config set has not."""
    return Contents(
        {flag: words for flag, words in theirs.flags.items() if _is_open(flag) and ours.value(flag) is None},
        {each: text for each, text in theirs.settings.items() if _is_open(each) and ours.setting(each) is None},
    )


def merged(files, own, ours, added):
    """Return a config set with what it lacks, below what it has.

    :param files: file name to bytes.
    :param own: the :class:`OwnFiles` of the release.
    :param ours: the :class:`Contents` of ``files``.
    :param added: what :func:`lacking` gives.
    :raises OpsError: for a variable without a value.
    """
    flags = {flag: words for flag, words in added.flags.items() if flag[0] not in _STAYS_OUT}
    unresolved = {
        "vm.args": _UNRESOLVED.findall(" ".join(word for words in flags.values() for word in words)),
        "sys.config": _UNRESOLVED.findall(" ".join(added.settings.values())),
    }
    for name, variables in unresolved.items():
        if variables:
            raise _without_value(own, own.named(name)[0], sorted(set(variables)))
    return {
        **files,
        "vm.args": _with_flags(decoded(files["vm.args"]), flags).encode("utf-8"),
        "sys.config": _with_settings(decoded(files["sys.config"]), added.settings).encode("utf-8"),
    }


def not_taken(theirs, ours):
    """Return what of a release's own files does not take effect, a line each: (file, what).

    Values are shown of the emulator's flags alone: another one may be a secret of the release.
    """
    lines = []
    for flag, words in theirs.flags.items():
        value = ours.value(flag)
        if _is_open(flag) and (value is None or not _same(words[-1], value)):
            lines.append(("vm.args", _shown_flag(flag, words, value)))
    for (application, key), text in theirs.settings.items():
        value = ours.setting((application, key))
        if _is_open((application, key)) and (value is None or not _same(text, value)):
            what = f"{format_term(application)} {format_term(key)}"
            lines.append(("sys.config", what if value is None else f"{what} (another value here)"))
    return lines


def staying_out(theirs, ours):
    """Return the lines of :func:`not_taken` that remain when the rest is merged."""
    flags = {flag: words for flag, words in lacking(theirs, ours).flags.items() if flag[0] in _STAYS_OUT}
    return not_taken(Contents(flags), ours)


def told(version, lines, is_base):
    """Return the warnings about what does not take effect.

    :param lines: what :func:`not_taken` or, where the release is the base, :func:`staying_out` gives.
    """
    warnings = []
    flags = [what for file, what in lines if file == "vm.args"]
    keys = [what.split()[0] for file, what in lines if file == "sys.config"]
    sections = [f"{name} ({_number(keys.count(name), 'key')})" for name in dict.fromkeys(keys)]
    named = (("vm.args", flags), ("sys.config", sections))
    places = [f"{_listed(found)} in its {file}" for file, found in named if found]
    if places and not is_base:
        warnings.append(
            f"release {version} brings {' and '.join(places)}, which this node does not get: name what it needs in "
            "erlmcp_node_vm_args and erlmcp_node_config, or set erlmcp_node_config_base: release; --diff lists all"
        )
    for flag, reason in _STAYS_OUT.items():
        if any(what.split()[0] == flag for what in flags) and (is_base or flag == "-heart"):
            warnings.append(f"{flag} of the vm.args of release {version} stays out: {reason}")
    return warnings


def _is_open(identity):
    """Whether a flag or a setting is for the release to choose."""
    first, *rest = identity
    name = rest[-1] if len(identity) == 2 else None
    if first.lstrip("-") == "kernel" and name in _DECIDED_OF_KERNEL:
        return False
    return first not in _DECIDED and name != "cluster_nodes"


def _flags(text):
    found = {}
    for group in arguments(tokens(text)):
        flag, *values = (token.text for token in group)
        if flag in _END_OF_FLAGS:
            break
        behind = _VALUE_BEHIND.fullmatch(flag)
        if not group[0].is_flag:
            continue
        if behind and not values:
            flag, values = behind[1], [behind[2]]
        if flag in _REPEATED:
            found[(flag, *values)] = [flag, *values]
        elif flag.startswith("-") and flag not in _NO_PAIRS and len(values) > 1 and len(values) % 2 == 0:
            for key, value in zip(values[::2], values[1::2]):
                found[(flag, key)] = [flag, key, value]
        else:
            found[(flag,)] = [flag, *values]
    return found


def _settings(sections):
    return {(section.name, key): text for section in sections.found for key, text in section.settings.items()}


def _with_flags(text, flags):
    if not flags:
        return text
    lines = [" ".join([words[0], *(quote(words[0], word) for word in words[1:])]) for words in flags.values()]
    return "".join(f"{line}\n" for line in [text.rstrip("\n"), f"# {_COMMENT} vm.args", *lines])


def _with_settings(text, settings):
    sections = parse_sections(text)
    insertions, rest = [], dict(settings)
    for section in sections.found:
        pairs = [(key, value) for (name, key), value in settings.items() if name == section.name]
        rest = {each: value for each, value in rest.items() if each[0] != section.name}
        if pairs:
            insertions.append((section.end, _inserted(_pairs(pairs), not section.settings, 4)))
    blocks = []
    for name in dict.fromkeys(name for name, _key in rest):
        pairs = [(key, value) for (application, key), value in rest.items() if application == name]
        blocks.append(f"{{{format_term(name)}, [\n    {_pairs(pairs)}\n  ]}}")
    if blocks:
        insertions.append((sections.end, _inserted(",\n  ".join(blocks), not sections.found, 2)))
    for position, addition in reversed(insertions):
        text = text[:position] + addition + text[position:]
    return text


def _inserted(items, is_first, indent):
    pad = " " * indent
    return f"{'' if is_first else ','}\n{pad}%% {_COMMENT} sys.config\n{pad}{items}"


def _pairs(pairs):
    return ",\n    ".join(f"{{{format_term(key)}, {value}}}" for key, value in pairs)


def _resolved(text, variables):
    def value(match):
        name, default = match.groups()
        # As the start script has it, where an empty value is none.
        return variables.get(name) or (default if default is not None else variables.get(name, f"unresolved@{name}@"))

    return _VARIABLE.sub(value, text)


def _same(one, other):
    return one == other or _normal(one) == _normal(other)


def _normal(text):
    try:
        return format_term(parse(text))
    except TermError:
        return text


def _shown_flag(flag, words, value):
    if not flag[0].startswith("+"):
        what = " ".join(flag)
        return what if value is None else f"{what} (another value here)"
    what = _UNRESOLVED.sub(r"${\1}", " ".join(words))
    return what if value is None else f"{what} (here {value})"


def _listed(items):
    more = len(items) - _SHOWN
    return ", ".join([*items[:_SHOWN], *([f"{more} more"] if more > 0 else [])])


def _number(count, noun):
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _unreadable(own, file, problem):
    return OpsError(
        f"releases/{own.version}/{file} of release {own.version} cannot be read ({problem}): name what the node needs "
        "of it in erlmcp_node_vm_args and erlmcp_node_config, and leave erlmcp_node_config_base at none",
        kind="config",
        # Another release may bring another one.
        by_release=True,
    )


def _without_value(own, file, variables):
    named = ", ".join(f"${{{name}}}" for name in variables)
    return OpsError(
        f"releases/{own.version}/{file} of release {own.version} holds {named}, which env.sh gives no value: set "
        f"{' and '.join(variables)} in erlmcp_node_environment, or override the settings that hold it in "
        "erlmcp_node_vm_args and erlmcp_node_config",
        kind="config",
        by_release=True,
    )
