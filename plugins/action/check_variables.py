# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks on the control node, for one host, what several roles are given."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.yaml import yaml_load
from ansible.plugins.action import ActionBase
from ansible_collections.erlmcp.ops.plugins.module_utils._config.misspelt import misspelt
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError

# With -e or an inventory in INI it is one. Whoever reads these splits it.
_MAY_BE_TEXT = ("erlmcp_cluster_leaving",)
# Read before any role is.
_OF_THE_INVENTORY = ("erlmcp_address", "erlmcp_gather_facts", "erlmcp_hosts", "erlmcp_node_base", "erlmcp_node_host")
_OPTION = re.compile(r"^ +(erlmcp_\w+):$", re.MULTILINE)
_EXAMPLES = {"list": ["..."], "dict": {"...": "..."}}
_ROLES = Path(__file__).parents[2] / "roles"


class ActionModule(ActionBase):
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(
            {
                "roles": {"type": "list", "elements": "str", "default": []},
                "problems": {"type": "list", "elements": "str", "default": []},
                "rendered": {"type": "dict", "default": {}},
            }
        )
        spec, given, found = self._given(options["roles"], task_vars)
        # What has a wrong type would make the judgement fail without naming the variable.
        found = found or _type_errors(spec, given)
        if not found:
            found = [*self._problems(options["problems"]), *self._refused(options["rendered"])]
            found += _negative(spec, given, " ".join(found))
        if options["roles"]:
            found += misspelt(task_vars, _known())
        if found:
            return {"failed": True, "msg": "\n".join(found), "problems": found}
        return {"changed": False}

    def _given(self, roles, task_vars):
        """Return the options of roles that are there, their values, and what a filter in one of them refuses."""
        options = {name: option for role in roles for name, option in _options_of(role).items()}
        # The default of one that is not there is a template, which only its role can render.
        spec = {name: option for name, option in options.items() if name in task_vars and not _is_secret_text(option)}
        try:
            return spec, self._templar.template({name: task_vars[name] for name in spec}), []
        except AnsibleError as error:
            return spec, {}, [_said_by_filter(error)]

    def _problems(self, names):
        found = []
        for name in names:
            try:
                found += self._templar.resolve_variable_expression(name)
            except AnsibleError as error:
                found.append(_said_by_filter(error))
        # A filter may refuse for several of them.
        return list(dict.fromkeys(found))

    def _refused(self, rendered):
        for name, made_of in rendered.items():
            try:
                self._templar.resolve_variable_expression(name)
            except AnsibleError as error:
                said = _said_by_filter(error)
                yield f"{made_of}: {said}" if made_of else said


def _options_of(role):
    # Ansible's own loader takes eight times as long, for each host.
    specs = yaml_load((_ROLES / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    return specs["contract" if role == "erlmcp" else "main"]["options"]


def _known():
    """Names of all variables of all roles. To parse all of their specs takes too long, for each host."""
    specs = (path.read_text(encoding="utf-8") for path in _ROLES.glob("*/meta/argument_specs.yml"))
    return {*_OF_THE_INVENTORY, *(name for text in specs for name in _OPTION.findall(text))}


def _type_errors(spec, given):
    validated = ArgumentSpecValidator(spec).validate(given, validate_role_argument_spec=True)
    return [*validated.error_messages, *_texts(spec, given)]


def _negative(spec, given, told):
    """Yield the numbers below 0 of which nothing was told yet. No number of the collection can be one."""
    for name, option in spec.items():
        is_number = option["type"] in ("int", "float") and given[name] is not None
        if is_number and float(given[name]) < 0 and f"{name} is " not in told:
            yield f"{name} is {given[name]}: set it to 0 or more"


def _texts(spec, given):
    """Yield what is given as a text in place of a list or a dictionary.

    Ansible's check makes one of it, for itself alone: what reads the variable gets the text.
    """
    for name, option in spec.items():
        if option["type"] in _EXAMPLES and isinstance(given[name], str) and name not in _MAY_BE_TEXT:
            example = json.dumps({name: _EXAMPLES[option["type"]]})
            yield f"{name} is a text: write it as a {option['type']}, in the inventory or with -e '{example}'"


def _said_by_filter(error):
    """Return what a filter of this collection said, without what Ansible has wrapped around it.

    :raises AnsibleError: the error itself, when it comes from elsewhere.
    """
    cause = error
    while cause is not None:
        if isinstance(cause, OpsError):
            return str(cause)
        cause = cause.__cause__
    raise error


def _is_secret_text(option):
    """Any value of one can be a text, and to render the default of a generated one would make it."""
    return option["type"] == "str" and option.get("no_log", False)
