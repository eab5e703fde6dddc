# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._config.env_sh import to_env_sh
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError


def test_a_shell_reads_what_was_meant():
    values = {"A": "it's $HOME `id` \\ \"x\" é", "B_2": 5, "C": True, "D": ""}
    script = to_env_sh({**values, "GONE": None}, header="one\ntwo") + "printf '%s|' \"$A\" \"$B_2\" \"$C\" \"$D\"\n"
    assert script.startswith("# one\n# two\nexport A='it'")
    assert "GONE" not in script
    shell = subprocess.run(["sh"], input=script, capture_output=True, check=True, encoding="utf-8")
    assert shell.stdout == "it's $HOME `id` \\ \"x\" é|5|true||"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"a-b": 1}, "'a-b' is no name"),
        ({"1A": 1}, "'1A' is no name"),
        ({"ERLMCP_COOKIE": "hidden"}, "ERLMCP_COOKIE: the cookie does not belong into the environment"),
        ({"A": "x\ny"}, "A: a line break"),
        ({"A": ["x"]}, "A: a value of type list is no text"),
    ],
)
def test_a_refused_variable_is_named(variables, message):
    with pytest.raises(OpsError) as caught:
        to_env_sh(variables)
    assert str(caught.value).startswith(message)
    assert "hidden" not in str(caught.value)
