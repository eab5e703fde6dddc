# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible_collections.erlmcp.ops.plugins.action.site_info import ActionModule
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._release.release_archives import (
    entry,
    pack,
    release_entries,
)


class Action(ActionModule):
    """The plugin with a host that has not the release yet, or has it."""

    def __init__(self, questions, has_release):
        super().__init__(
            task=SimpleNamespace(args={"questions": questions}, check_mode=False, async_val=0),
            connection=SimpleNamespace(_shell=SimpleNamespace(tmpdir=None), has_pipelining=True),
            play_context=None,
            loader=None,
            templar=None,
            shared_loader_obj=None,
        )
        self.has_release = has_release

    def _execute_module(self, module_name, module_args, task_vars):
        (sha256,) = [
            each["options"]["archive_sha256"] for each in module_args["questions"] if "release" in each.values()
        ]
        wanted = {"needs_archive": True, "sha256": sha256, "params": {"release_name": "erlmcp"}}
        return {"changed": False, "answers": {"release": {"changed": False} if self.has_release else wanted}}

    def _find_needle(self, dirname, needle):
        return needle


def asked(tmp_path, base, has_release=False, env_sh=""):
    entries = [*release_entries("1.0.0"), entry("releases/1.0.0/vm.args.src", b"-name ${NODE}\n+t ${ATOMS}\n")]
    archive = tmp_path / "erlmcp.tar.gz"
    pack(archive, entries)
    config = {"sys_config": "[].\n", "vm_args": "-name erlmcp@h\n", "env_sh": env_sh, "base": base}
    questions = [
        {"role": "erlmcp_release", "module": "release", "options": {"src": str(archive)}},
        {"role": "erlmcp_node", "module": "config", "options": config},
    ]
    return Action(questions, has_release).run(task_vars={})


def test_a_release_whose_config_cannot_be_merged_is_refused_before_it_is_laid_down(tmp_path):
    answer = asked(tmp_path, "release")
    assert answer["failed"]
    assert "releases/1.0.0/vm.args.src of release 1.0.0 holds ${ATOMS}, which env.sh gives no value" in answer["msg"]


@pytest.mark.parametrize(
    "options",
    [
        {"base": "none"},
        # The module on the host has looked at it.
        {"base": "release", "has_release": True},
        {"base": "release", "env_sh": "export ATOMS='2000000'\n"},
    ],
)
def test_what_can_be_merged_or_is_not_passes(tmp_path, options):
    assert asked(tmp_path, **options)["changed"] is False
