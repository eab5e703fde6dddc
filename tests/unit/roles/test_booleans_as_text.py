# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``-e erlmcp_tls_enabled=false`` and an inventory in INI give a text, which is true in every condition.

So whoever reads a variable that is a boolean turns it into one, with the filter ``bool``. Everywhere, also where it is
given to a module that would do so: then nobody has to know whether what he changes is one of the exceptions.
"""

from __future__ import annotations

from pathlib import Path

import jinja2
import pytest
import yaml
from jinja2 import nodes

ROOT = Path(__file__).parents[3]
SPECS = [yaml.safe_load(path.read_text()) for path in ROOT.glob("roles/*/meta/argument_specs.yml")]
OPTIONS = {
    name: option
    for spec in SPECS
    for entry in spec["argument_specs"].values()
    for name, option in entry.get("options", {}).items()
}
BOOLEANS = {name for name, option in OPTIONS.items() if option["type"] == "bool"}
# Their values are expressions, without braces around.
CONDITIONS = ("changed_when", "failed_when", "that", "until", "when")
FILES = sorted(
    path
    for pattern in ("roles/*/*/*.yml", "roles/*/templates/*.j2", "playbooks/**/*.yml")
    for path in ROOT.glob(pattern)
    if path.parent.name != "meta"
)


def templates(value, is_condition=False):
    """Yield the Jinja templates in parsed YAML."""
    if isinstance(value, str):
        yield f"{{{{ {value} }}}}" if is_condition and "{{" not in value else value
    elif isinstance(value, list):
        for each in value:
            yield from templates(each, is_condition)
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from templates(each, key in CONDITIONS)


def raw(text):
    """Return the names of booleans that a template reads without turning them into one."""
    return [name for name, is_turned in read(jinja2.Environment().parse(text)) if not is_turned]


def read(node, is_turned=False):
    """Yield (name, whether it is turned into a boolean) for each boolean that is read."""
    name = name_of(node)
    if name in BOOLEANS:
        yield name, is_turned
    for child in node.iter_child_nodes():
        yield from read(child, turns(node, is_turned))


def turns(node, is_turned):
    if isinstance(node, nodes.Filter):
        # A default takes the place of what it is for.
        return node.name == "bool" or (is_turned and node.name in ("d", "default"))
    return isinstance(node, nodes.Test) and node.name in ("defined", "undefined")


def name_of(node):
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr):
        return node.attr
    return node.arg.value if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) else None


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_boolean_is_read_as_it_is_given(path):
    text = path.read_text()
    found = [text] if path.suffix == ".j2" else templates(yaml.safe_load(text))
    assert [name for template in found for name in raw(template)] == []


def test_nor_is_one_in_the_default_of_another_variable():
    assert {name: raw(option["default"]) for name, option in OPTIONS.items() if "{{" in str(option.get("default"))} == {
        name: [] for name, option in OPTIONS.items() if "{{" in str(option.get("default"))
    }


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{{ erlmcp_tls_enabled | bool }}", []),
        ("{{ 'a' if erlmcp_tls_enabled | default(false) | bool else 'b' }}", []),
        ("{{ hostvars.x.erlmcp_tls_enabled | default(erlmcp_tls_enabled) | bool }}", []),
        ("{{ erlmcp_tls_enabled is defined }} erlmcp_tls_enabled", []),
        ("{{ erlmcp_tls_enabled }}", ["erlmcp_tls_enabled"]),
        ("{% if not erlmcp_tls_enabled %}{% endif %}", ["erlmcp_tls_enabled"]),
        ("{{ erlmcp_tls_enabled | ternary(1, 2) | bool }}", ["erlmcp_tls_enabled"]),
        ("{{ erlmcp_tls_enabled | bool or erlmcp_http_enabled }}", ["erlmcp_http_enabled"]),
        ("{{ hostvars['x']['erlmcp_tls_enabled'] }}", ["erlmcp_tls_enabled"]),
    ],
)
def test_such_reading_is_found(text, found):
    assert raw(text) == found
