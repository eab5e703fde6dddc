# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Argument specs are the documentation of a role, so they must say what the defaults are."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

ROLES = sorted(path for path in (Path(__file__).parents[3] / "roles").iterdir() if path.is_dir())
# Role erlmcp is the contract; erlmcp_scale also plans for pods, which no inventory names.
WITHOUT_CONTRACT = ("erlmcp", "erlmcp_scale")
# A secret that is made where the inventory has none. What a spec has as a default is printed.
GENERATED = "erlmcp_cookie"
TYPES = {"bool": bool, "int": int, "float": float, "list": list, "dict": dict, "str": str, "path": str}


def load(path):
    return yaml.safe_load(path.read_text()) or {}


def options_of(role):
    return load(role / "meta" / "argument_specs.yml")["argument_specs"][
        "contract" if role.name == "erlmcp" else "main"
    ]["options"]


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_default_stands_in_the_specs_and_the_other_way_round(role):
    defaults = load(role / "defaults" / "main.yml")
    options = options_of(role)
    if GENERATED in options:
        assert "default" not in options.pop(GENERATED)
        del defaults[GENERATED]
    assert {name: option.get("default") for name, option in options.items()} == defaults


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_option_is_described_and_of_the_type_it_says(role):
    options = options_of(role)
    for name, option in options.items():
        assert name.startswith("erlmcp_" if role.name == "erlmcp" else f"{role.name}_"), name
        assert option["description"], name
        default = option.get("default", "{{")
        is_template = isinstance(default, str) and "{{" in default
        assert is_template or isinstance(default, TYPES[option["type"]]), name


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_internals_are_marked_as_such(role):
    variables = load(role / "vars" / "main.yml") if (role / "vars" / "main.yml").exists() else {}
    assert all(name.startswith("__erlmcp_") for name in variables)


@pytest.mark.parametrize(
    "role", [role for role in ROLES if role.name not in WITHOUT_CONTRACT], ids=lambda role: role.name
)
def test_every_role_gets_the_contract(role):
    dependencies = load(role / "meta" / "main.yml")["dependencies"]
    assert [dependency["role"] for dependency in dependencies] == ["erlmcp.ops.erlmcp"]
