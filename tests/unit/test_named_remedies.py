# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a message tells the reader to run or to set is there: playbooks, variables and their values, options, commands.

That it helps, other tests show. This one reads all texts of the collection, so no message is left out.
"""

from __future__ import annotations

import argparse
import ast
import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.command import parser

ROOT = Path(__file__).parents[2]
SPECS = {path.parts[-3]: yaml.safe_load(path.read_text()) for path in ROOT.glob("roles/*/meta/argument_specs.yml")}
VARIABLES = {
    name: option
    for spec in SPECS.values()
    for entry in spec["argument_specs"].values()
    for name, option in entry.get("options", {}).items()
}
PLAYBOOKS = {path.stem for path in ROOT.glob("playbooks/*.yml")}
# Read from the inventory before any role is.
OF_THE_INVENTORY = {"erlmcp_address", "erlmcp_gather_facts", "erlmcp_hosts", "erlmcp_node_host"}
# In texts that are Erlang or Jinja: a module of the release, names of ours in a node and in nftables, groups, labels.
OTHER_NAMES = re.compile(
    r"erlmcp_(admin|ops(_.*)?|balancers|(roll|turn|partition|membership)_.*|backup_laid_down|site_locked"
    # Keys of the audit rules.
    r"|config|exec|file|keys|releases|unit"
    # Proxies of HAProxy.
    r"|mcp|http"
    # A variable whose end is put in.
    r"|hardening_updates_)"
)
# Options of ansible-playbook, and of other programs that are named in full.
OTHER_OPTIONS = {"--diff", "--limit", "--lines", "--now", "--relx-disable-hooks", "--tags", "--unit"}
DOCUMENTED = ("DOCUMENTATION", "EXAMPLES", "RETURN")
# Words behind "playbook" or "run" in sentences that name none.
WORDS = set(
    """again any are as before begin by code commands connect does ended erlmcp from gave has is it may me none of on
    once runs systemctl that the this to was with without would""".split()
)


def literals(path):
    """Yield the text literals of a program, less documentation; ``{}`` stands for what is put into one."""
    tree = ast.parse(path.read_text())
    left_out = set()
    for node in ast.walk(tree):
        is_documentation = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in DOCUMENTED
        if isinstance(node, ast.Expr) or is_documentation:
            left_out.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            left_out.update(map(id, node.values))
            yield "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in left_out:
            yield node.value


def documentation(path):
    """Return the documentation of a module, or of a part of several."""
    (text,) = (
        node.value.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DOCUMENTATION"
    )
    return text


def scalars(value):
    """Yield the texts in parsed YAML."""
    if isinstance(value, str):
        yield value
    for each in [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from scalars(each)


def texts():
    """Yield (file, text) of all that may be said to a reader: sentences, so what has no blank is left out."""
    for path in sorted(ROOT.glob("plugins/**/*.py")):
        yield from ((path, text) for text in literals(path))
    for path in sorted([*ROOT.glob("roles/*/[tv]a*/*.yml"), *ROOT.glob("playbooks/**/*.yml")]):
        yield from ((path, text) for text in scalars(yaml.safe_load(path.read_text())))
    for path in sorted(ROOT.glob("roles/*/templates/*")):
        yield from ((path, text) for text in re.findall(r'"([^"\n]+)"', path.read_text()))


TEXTS = [(path.relative_to(ROOT), " ".join(text.split())) for path, text in texts() if " " in text.strip()]


def found(pattern):
    """Return (file, what matched) for all texts."""
    return [(str(path), match.groups()) for path, text in TEXTS for match in re.finditer(pattern, text)]


def unknown(pattern, known):
    """Return (file, name) of what is not known; a pattern may match several with commas between."""
    return [(path, name) for path, (names,) in found(pattern) for name in names.split(", ") if not known(name)]


def test_the_texts_are_those_of_messages():
    said = " ".join(text for _path, text in TEXTS)
    for part in (
        "{} shares its tables with {}, which runs and is not restored with it",
        "Repair the cluster first (site, repair_partition)",
        "no release is active in $install_dir; run the playbook site",
        "is not on the control node",
    ):
        assert part in said
    assert "Short names" not in said


def test_every_variable_is_one():
    names = unknown(
        r"(?<![\w./-])(erlmcp_[a-z0-9_]+)(?![\w(:]*\()",
        lambda name: name in VARIABLES or name in SPECS or name in OF_THE_INVENTORY or OTHER_NAMES.fullmatch(name),
    )
    assert names == []


MODULES_OPTIONS = {
    name
    for path in [*ROOT.glob("plugins/modules/*.py"), *ROOT.glob("plugins/doc_fragments/*.py")]
    for name in yaml.safe_load(documentation(path)).get("options", {})
}


@pytest.mark.parametrize(
    "pattern", [r"\(([a-z_]+): ", r"\b(?:with|set) ([a-z_]+)(?:: |=)"], ids=["(option: ...)", "with option: ..."]
)
def test_no_option_is_named_that_only_a_module_has(pattern):
    """Who runs a playbook sets variables, and who is on a host says options of erlmcp-ops."""
    assert unknown(pattern, lambda name: name not in MODULES_OPTIONS) == []


def values_of(option):
    """Which words a variable may be set to, ``None`` where anything goes."""
    return ["true", "false"] if option["type"] == "bool" else option.get("choices")


def test_every_value_is_one_that_the_variable_takes():
    given = [
        (path, name, value)
        for path, (name, value) in found(r"(?<![\w.])(erlmcp_[a-z0-9_]+)(?:: |=| to )([a-z_]+)\b")
        if name in VARIABLES and (values := values_of(VARIABLES[name])) and value not in values
    ]
    assert given == []


@pytest.mark.parametrize(
    "pattern",
    [
        r"\bplaybooks? ([a-z_]+)\b",
        r"\b[Rr]un ([a-z_]+)\b(?! \()",
        r"(?<![\w{])([a-z]+_[a-z_]+) with(?:out)? (?:-e |--|erlmcp_)",
        r" \(((?:[a-z_]+, )*[a-z]+_[a-z_]+)\)",
        r"ansible-playbook erlmcp\.ops\.([a-z_]+)",
    ],
    ids=["playbook ...", "run ...", "... with an option", "in parentheses", "a command"],
)
def test_every_playbook_is_one(pattern):
    names = unknown(pattern, lambda name: name in PLAYBOOKS or name in VARIABLES or name in WORDS)
    assert names == []


def options_of(commands):
    """Return the options of a command line and of its verbs."""
    own = {option for action in commands._actions for option in action.option_strings}
    verbs = [action.choices for action in commands._actions if isinstance(action, argparse._SubParsersAction)]
    return own.union(*(options_of(verb) for choices in verbs for verb in choices.values()))


def verbs_of(commands):
    return {verb for action in commands._actions if isinstance(action.choices, dict) for verb in action.choices}


def test_every_option_is_one():
    assert unknown(r"(?:^|[ ('])(--[a-z][a-z-]+)", lambda name: name in options_of(parser()) | OTHER_OPTIONS) == []


def test_every_verb_of_the_command_on_the_host_is_one():
    named = found(r"\berlmcp-ops ([a-z]+)\b")
    assert named
    assert [each for each in named if each[1][0] not in verbs_of(parser())] == []


def test_every_role_is_one():
    assert unknown(r"\brole (?:erlmcp\.ops\.)?([a-z_]+)\b", lambda name: name in SPECS or name in WORDS) == []
