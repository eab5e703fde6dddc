# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks on the control node, for one host, what several roles are given."""

from __future__ import annotations

import json
from pathlib import Path

from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.yaml import yaml_load
from ansible.plugins.action import ActionBase
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError

# With -e or an inventory in INI it is one. Whoever reads these splits it.
_MAY_BE_TEXT = ("erlmcp_cluster_leaving",)
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
        # What has a wrong type would make the judgement fail without naming the variable.
        found = self._type_errors(options["roles"], task_vars) or [
            *self._problems(options["problems"]),
            *self._refused(options["rendered"]),
        ]
        if found:
            return {"failed": True, "msg": "\n".join(found), "problems": found}
        return {"changed": False}

    def _type_errors(self, roles, task_vars):
        options = {name: option for role in roles for name, option in self._options_of(role).items()}
        # The default of one that is not there is a template, which only its role can render.
        spec = {name: option for name, option in options.items() if name in task_vars and not _is_secret_text(option)}
        try:
            given = self._templar.template({name: task_vars[name] for name in spec})
        except AnsibleError as error:
            return [_said_by_filter(error)]
        validated = ArgumentSpecValidator(spec).validate(given, validate_role_argument_spec=True)
        return [*validated.error_messages, *_texts(spec, given)]

    def _options_of(self, role):
        # Ansible's own loader takes eight times as long, for each host.
        specs = yaml_load((_ROLES / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
        return specs["contract" if role == "erlmcp" else "main"]["options"]

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
