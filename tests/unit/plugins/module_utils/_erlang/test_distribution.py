# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real node whose distribution runs over TLS, asked with good and bad certificates."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import contextmanager

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._erlang.distribution import Distribution, read_distribution
from ansible_collections.erlmcp.ops.plugins.module_utils._erlang.node import Node, Unreachable
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._backup.erlang_nodes import (
    Runner,
    private_erlang,
)

NAME = "tls@localhost"
OPTIONS = """
[{{server, [{{fail_if_no_peer_cert, true}}, {{verify, verify_peer}}, {files}]}},
 {{client, [{{verify, verify_peer}}, {files}]}}].
"""


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class Authority:
    """A CA with a certificate for ``localhost``."""

    def __init__(self, directory):
        directory.mkdir()
        self.directory = directory
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")
        authority = ("-keyout", f"{directory}/ca.key", "-out", f"{directory}/ca.pem")
        openssl("req", "-x509", *key, "-days", "2", "-subj", "/CN=authority", *authority)
        openssl(
            *("req", "-x509", *key, "-days", "2", "-subj", "/CN=node", "-addext", "subjectAltName=DNS:localhost"),
            *("-CA", f"{directory}/ca.pem", "-CAkey", f"{directory}/ca.key"),
            *("-keyout", f"{directory}/node.key", "-out", f"{directory}/node.pem"),
        )
        files = ", ".join(
            f'{{{option}, "{directory}/{name}"}}'
            for option, name in (("cacertfile", "ca.pem"), ("certfile", "node.pem"), ("keyfile", "node.key"))
        )
        self.options = directory / "options.conf"
        self.options.write_text(OPTIONS.format(files=files))


@contextmanager
def running(home, port, options):
    process = subprocess.Popen(
        [
            *("erl", "-noinput", "-sname", NAME, "-start_epmd", "false"),
            *("-proto_dist", "inet_tls", "-ssl_dist_optfile", options),
        ],
        env={**os.environ, "HOME": str(home), "ERL_EPMD_PORT": str(port), "LANG": "C.UTF-8"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.fixture(name="asked", scope="module")
def _asked(tmp_path_factory):
    """Function from a CA to the running node, asked with a certificate of that CA."""
    root = tmp_path_factory.mktemp("tls")
    home = root / "home"
    home.mkdir()
    ours, theirs = Authority(root / "ours"), Authority(root / "theirs")
    with private_erlang(home) as erlang, running(home, erlang.port, ours.options):

        def node(authority, protocol="inet_tls"):
            config = root / f"config-{protocol}-{authority.directory.name}"
            config.mkdir(exist_ok=True)
            flags = f"-sname {NAME}\n-proto_dist {protocol}\n-ssl_dist_optfile {authority.options}\n"
            (config / "vm.args").write_text(flags if protocol else f"-sname {NAME}\n")
            (config / "env.sh").write_text(f"export ERL_EPMD_PORT='{erlang.port}'\n")
            return Node({**erlang.spec(NAME), "name_type": "short", "config_dir": str(config)}, Runner())

        node.ours, node.theirs = ours, theirs
        for _attempt in range(50):
            try:
                node(ours).evaluate("ok")
                break
            except Unreachable:
                time.sleep(0.1)
        yield node


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("{node(), [hidden || _ <- nodes(hidden)], nodes()}", (NAME, ["hidden"], [])),
        ('<<"a\\"b\\\\c", 0, 255>>', b'a"b\\c\0\xff'),
        ("lists:duplicate(70000, a)", ["a"] * 70000),
        ("begin F = fun(X) -> X + 1 end,\n F(1) end", 2),
        ('"caf\\x{e9}"', "café"),
    ],
)
def test_a_question_over_tls_is_answered_as_over_tcp(asked, question, answer):
    assert asked(asked.ours).evaluate(question) == answer


def test_a_question_that_fails_says_so(asked):
    with pytest.raises(OpsError, match="could not evaluate a question: .*badarith"):
        asked(asked.ours).evaluate("1 / (1 - 1)")


def test_a_certificate_of_another_authority_is_refused(asked):
    with pytest.raises(Unreachable, match=r"does not answer over distribution: .*(Unknown CA|unknown_ca)"):
        asked(asked.theirs).evaluate("ok")


def test_who_does_not_speak_tls_is_refused(asked):
    with pytest.raises(Unreachable):
        asked(asked.ours, protocol="").evaluate("ok", timeout=2)


def test_how_nodes_talk_is_read_from_the_config_in_use(tmp_path):
    assert read_distribution(None) == read_distribution(str(tmp_path)) == Distribution()
    (tmp_path / "vm.args").write_text(
        '# -proto_dist inet_tls\n-name a@b\n-proto_dist inet6_tls\n  -ssl_dist_optfile "/etc/d.conf"\n+P 1000\n'
    )
    (tmp_path / "env.sh").write_text("export A='1'\nexport ERL_EPMD_PORT='4370'\n")
    assert read_distribution(str(tmp_path)) == Distribution("inet6_tls", "/etc/d.conf", 4370, None, True)
    assert read_distribution(str(tmp_path)).environment() == {"ERL_EPMD_PORT": "4370"}
