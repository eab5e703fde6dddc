# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What differs on a host from what roles would lay down there: the plans of their modules, in one process.

Each module is true in check mode, so its plan is the answer. Nothing is changed.
"""

from __future__ import annotations

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from .._core.errors import OpsError
from .._node.observe import node_info
from .._node.spec import NODE_INFO_SPEC
from .kinds import NAMES, kind

# The tasks that begin with a question of their own are given these answers.
_PASSED_ON = ("firewall", "release")


class Asked:
    """What a module's function sees of the module while it is asked: options, and that nothing may be changed."""

    check_mode = True

    def __init__(self, module, params):
        self.params = params
        self.no_log_values = module.no_log_values
        self.warn = module.warn


def site_info(module, runner):
    """The module ``site_info``."""
    # All of it counts as a secret until here, so that nothing of it is logged. What is one, each question knows.
    module.no_log_values = set()
    differs, refusals, answers = ask(module, module.params["questions"], runner)
    if refusals:
        raise OpsError(
            "\n".join(map(str, refusals)), kind=refusals[0].kind, **{"refused": len(refusals), **refusals[0].details}
        )
    node = Asked(module, _validated(module, NODE_INFO_SPEC, "node_info", module.params["node_info"]))
    return {**node_info(node, runner), "differs": differs, "answers": answers}


def ask(module, questions, runner):
    """Return what differs, role to texts; what is refused, a list of :class:`OpsError`; and answers to be passed on."""
    differs, refusals, answers = {}, [], {}
    for question in questions:
        spec, answer, texts = _known(question["module"])
        asked = Asked(module, _validated(module, spec, question["module"], question["options"]))
        try:
            result = answer(asked, runner)
            found = texts(result, asked.params)
        except OpsError as error:
            if not _may_be_mended(question, error, differs):
                refusals.append(error)
                continue
            found = [str(error)]
        else:
            if question["module"] in _PASSED_ON:
                answers[question["module"]] = result
        if found:
            differs.setdefault(question["role"], []).extend(found)
    return _followed(differs), refusals, answers


def _known(name):
    found = kind(name)
    if found is None:
        raise OpsError(f"questions: {name!r} cannot be asked, only {', '.join(NAMES)}", kind="input")
    return found


def _validated(module, spec, name, options):
    result = ArgumentSpecValidator(spec).validate(options)
    module.no_log_values.update(result._no_log_values)
    if result.error_messages:
        raise OpsError(f"{name}: {'; '.join(result.error_messages)}", kind="input")
    return result.validated_parameters


def _may_be_mended(question, error, differs):
    """A config that the Erlang of the old release refuses may be one for the new release."""
    return question["module"] == "config" and error.details.get("by_release") and "erlmcp_release" in differs


def _followed(differs):
    """Another release has to accept the config that is there."""
    if "erlmcp_release" in differs:
        differs.setdefault("erlmcp_node", []).append("another release judges the config")
    return differs
