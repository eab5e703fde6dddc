# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two real nodes that are connected, each with a home of its own, get another cookie while they run."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import stat
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._cookie import cookie as module_under_test
from ansible_collections.erlmcp.ops.plugins.module_utils._cookie.cookie import SWITCH, TELL, cookie
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Completed
from ansible_collections.erlmcp.ops.plugins.module_utils._core.sealed import Sealed
from ansible_collections.erlmcp.ops.plugins.module_utils._erlang.node import Node, Unreachable
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._backup.erlang_nodes import (
    Erlang,
    PrivateRunner,
    private_erlang,
)
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._core.fake_creds import FakeCreds

A, B = "a@127.0.0.1", "b@127.0.0.1"
OLD = "ofthistest"
TRACED = (os.path.join("_cookie", "cookie.py"), os.path.join("_core", "files.py"))
SEALING = os.path.join("_core", "sealed.py")

# Counts the nodes that went away, which a connection that stands never does.
WATCH = """
spawn(fun() ->
    register(watch, self()),
    ok = net_kernel:monitor_nodes(true),
    Count = fun Count(Lost) ->
        receive
            {nodedown, _} -> Count(Lost + 1);
            {lost, From} -> From ! {lost, Lost}, Count(Lost);
            _ -> Count(Lost)
        end
    end,
    Count(0)
end)
"""
LOST = "begin watch ! {lost, self()}, receive {lost, Lost} -> {Lost, nodes()} end end"


class HostRunner(PrivateRunner):
    """Real commands, save for a fake systemd; notes what other users of the host could see."""

    def __init__(self, port):
        super().__init__(port)
        self.unit = "active"
        self.seen = []

    def run(self, argv, stdin="", account=None, env=None, timeout=60):
        if argv[0] == "systemctl":
            return Completed(0, f"ActiveState={self.unit}\nMainPID={int(self.unit == 'active')}\n", "")
        if argv[0] == "systemd-creds":
            return FakeCreds().run(argv, stdin=stdin)
        self.seen.append(repr((argv, stdin, env)))
        return super().run(argv, stdin=stdin, account=account, env=env, timeout=timeout)


class Host:
    """A host with a node that runs, as the module finds it."""

    def __init__(self, name, erlang, log):
        self.erlang = erlang
        self.home = erlang.home
        self.log = log
        self.runner = HostRunner(erlang.port)
        self.spec = {**erlang.spec(name), "service": "erlmcp"}

    def run(self, wanted, state="present", check=False, members=(A, B)):
        params = {"node": self.spec, "cookie": wanted, "state": state, "members": list(members)}
        return cookie(SimpleNamespace(params=params, check_mode=check), self.runner)

    def node(self, home=None, name=None):
        spec = {**self.spec, "home_dir": str(home or self.home), "name": name or self.spec["name"]}
        return Node(spec, self.runner)

    def accepts(self, text, name=None):
        home = self.home.parent / "stranger"
        home.mkdir(exist_ok=True)
        (home / ".erlang.cookie").unlink(missing_ok=True)
        (home / ".erlang.cookie").write_text(text)
        try:
            self.node(home, name).evaluate("ok")
        except Unreachable:
            return False
        return True

    @property
    def file(self):
        return (self.home / ".erlang.cookie").read_text()


@pytest.fixture
def hosts(tmp_path):
    homes = [tmp_path / name for name in ("a", "b")]
    for home in homes:
        home.mkdir(mode=0o750)
    with private_erlang(homes[0]) as first:
        one = Host(A, first, tmp_path / "a.log")
        other = Host(B, Erlang(homes[1], first.port), tmp_path / "b.log")
        with (
            one.erlang.node(A, tmp_path / "mnesia a", log=one.log) as (node, _process),
            other.erlang.node(B, tmp_path / "mnesia b", log=other.log),
        ):
            assert node.evaluate(f"net_kernel:connect_node('{B}')") is True
            node.evaluate(WATCH)
            yield one, other


def fresh(number=0):
    return f"new-cookie-{number:020}"


def connected(host):
    """Whether the connection is there and was never lost."""
    return host.node().evaluate(LOST) == (0, [B])


def test_both_get_it_and_stay_connected(hosts):
    one, other = hosts
    assert one.run(fresh())["changed"]
    assert one.accepts(fresh())
    assert not one.accepts(OLD)
    assert other.accepts(OLD)
    assert connected(one)
    assert other.run(fresh())["changed"]
    assert not other.accepts(OLD)
    for host in hosts:
        assert host.file == fresh()
        assert os.listdir(host.home) == [".erlang.cookie"]
        assert not host.run(fresh(), "proven")["changed"]
        again = host.run(fresh())
        assert (again["changed"], again["had_cookie"], again["steps"]) == (False, True, [])
    assert connected(one)


def test_a_node_without_members_gets_it_too(hosts):
    one, _other = hosts
    assert one.run(fresh(), members=())["changed"]
    assert one.accepts(fresh())
    assert not one.accepts(OLD)


def test_the_nodes_can_connect_anew(hosts):
    for host in hosts:
        host.run(fresh())
    one, _other = hosts
    assert one.node().evaluate(f"{{erlang:disconnect_node('{B}'), net_kernel:connect_node('{B}')}}") == (True, True)


def test_the_file_is_for_the_account_alone(hosts):
    one, _other = hosts
    one.home.chmod(0o710)
    group = one.home.stat().st_gid
    modes = []
    run = one.runner.run

    def look(argv, **options):
        if os.path.isdir(one.home / "next"):
            modes.append(stat.S_IMODE((one.home / "next").stat().st_mode))
        return run(argv, **options)

    one.runner.run = look
    one.run(fresh())
    assert set(modes) == {0o710}
    status = (one.home / ".erlang.cookie").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o400, group)


def test_nobody_else_sees_it(hosts):
    one, other = hosts
    results = [host.run(fresh()) for host in hosts]
    results += [host.run(fresh(), "proven") for host in hosts]
    assert not one.accepts(OLD)
    shown = repr(results) + "".join(one.runner.seen + other.runner.seen)
    assert "file:read_file" in shown
    assert fresh() not in shown
    assert OLD not in shown
    for _attempt in range(100):
        if "Invalid challenge reply" in one.log.read_text():
            break
        time.sleep(0.1)
    else:
        pytest.fail("the node never logged that it refused the old cookie")
    assert fresh() not in one.log.read_text() + other.log.read_text()


def test_a_cookie_that_the_node_cannot_take_is_not_told(hosts, monkeypatch):
    """The node fails with the cookie in its hand; what it says of that must not hold it."""
    one, _other = hosts
    # Longer than an atom may be.
    monkeypatch.setattr(module_under_test, "cookie_problem", lambda _cookie: None)
    with pytest.raises(OpsError, match="cannot take the cookie") as failure:
        one.run("x" * 300)
    assert "x" * 20 not in str(failure.value) + one.log.read_text()
    assert one.file == OLD
    assert one.accepts(OLD)
    assert one.run(fresh())["changed"]


def test_check_mode_changes_nothing_and_tells_the_steps(hosts):
    one, _other = hosts
    predicted = one.run(fresh(), check=True)
    assert one.file == OLD
    assert os.listdir(one.home) == [".erlang.cookie"]
    assert one.accepts(OLD)
    assert predicted == one.run(fresh())


def test_of_a_stopped_node_the_file_is_replaced(hosts):
    one, _other = hosts
    one.runner.unit = "inactive"
    result = one.run(fresh())
    assert result["changed"]
    assert TELL not in result["steps"]
    assert one.file == fresh()
    assert one.accepts(OLD)


def test_a_node_that_is_starting_is_waited_for(hosts):
    one, _other = hosts
    one.runner.unit = "activating"
    with pytest.raises(OpsError, match="erlmcp.service is activating .*try again"):
        one.run(fresh())
    assert one.file == OLD


def test_a_node_with_a_cookie_that_is_nowhere_is_refused(hosts):
    one, _other = hosts
    (one.home / ".erlang.cookie").unlink()
    (one.home / ".erlang.cookie").write_text("anotherone")
    with pytest.raises(OpsError, match="accepts no cookie that this host has.*systemctl restart erlmcp"):
        one.run(fresh())
    assert one.file == "anotherone"


def test_a_run_waits_for_one_that_is_at_work(hosts):
    one, _other = hosts
    work = threading.Thread(target=one.run, args=(fresh(),), daemon=True)
    descriptor = os.open(one.home, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    work.start()
    work.join(0.5)
    assert work.is_alive()
    assert one.file == OLD
    os.close(descriptor)
    work.join()
    assert one.file == fresh()


def test_a_host_without_a_node_is_refused(tmp_path):
    host = Host(A, Erlang(tmp_path, 1), tmp_path / "log")
    host.spec["home_dir"] = str(tmp_path / "nowhere")
    for check in (True, False):
        with pytest.raises(OpsError, match="nowhere is missing: .*site"):
            host.run(fresh(), check=check)


@pytest.mark.parametrize("bad", ["erlmcp", "kept-too-short", "with#with#with#with#with#", ""])
def test_a_bad_cookie_is_refused_and_not_shown(tmp_path, bad):
    host = Host(A, Erlang(tmp_path, 1), tmp_path / "log")
    with pytest.raises(OpsError, match="^the cookie .*at random$") as failure:
        host.run(bad)
    assert bad in ("erlmcp", "") or bad not in str(failure.value)
    assert host.runner.seen == []


def test_a_cookie_for_one_member_alone_is_replaced_and_one_for_another_node_is_not(hosts):
    one, _other = hosts
    one.node().evaluate(f"[erlang:set_cookie(N, Cookie) || {{N, Cookie}} <- [{{'{B}', odd}}, {{'x@127.0.0.1', kept}}]]")
    assert one.run(OLD + "-and-longer-now")["changed"]
    assert one.node().evaluate(f"auth:get_cookie('{B}') =:= auth:get_cookie()") is True
    assert one.node().evaluate("auth:get_cookie('x@127.0.0.1')") == "kept"
    one.node().evaluate(f"erlang:set_cookie('{B}', odd)")
    assert one.run(OLD + "-and-longer-now")["steps"] == [TELL]
    assert one.run(OLD + "-and-longer-now")["steps"] == []


def test_it_is_not_proven_before_every_member_has_it(hosts):
    one, other = hosts
    with pytest.raises(OpsError, match="does not hold the cookie"):
        one.run(fresh(), "proven")
    one.run(fresh())
    with pytest.raises(OpsError, match=f"as seen from {A}: {B} does not answer"):
        one.run(fresh(), "proven")
    other.run(fresh())
    assert one.run(fresh(), "proven")["had_cookie"]
    other.node().evaluate(f"erlang:set_cookie('{A}', odd)")
    with pytest.raises(OpsError, match=f"{B} has another cookie for {A}"):
        one.run(fresh(), "proven")


def killed_after(lines, action, traced=TRACED):
    """Run ``action`` in a process that kills itself after a number of lines; return whether it came to that."""

    def count(frame, event, _argument):
        nonlocal lines
        if not frame.f_code.co_filename.endswith(traced):
            return None
        if event == "line":
            lines -= 1
            if lines == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return count

    def run():
        sys.settrace(count)
        action()

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def test_a_run_killed_at_any_line_is_finished_by_the_next(hosts):
    """Kills at the first line, at the second, and so on, until a run comes to its end."""
    one, _other = hosts
    number, half_done = 0, set()
    while True:
        number += 1
        if not killed_after(number, lambda: one.run(fresh(number))):  # noqa: B023
            break
        # Every third time the operator has settled it first, or wants yet another cookie.
        if number % 3 == 1:
            settled = one.run(fresh(number), "settled")
            half_done.update(settled["steps"])
            assert one.node().evaluate("ok") == "ok"
            assert os.listdir(one.home) == [".erlang.cookie"]
            assert one.run(fresh(number), check=True)["had_cookie"] == settled["had_cookie"]
        wanted = fresh(number) if number % 3 else fresh(1000 + number)
        predicted = one.run(wanted, check=True)
        done = one.run(wanted)
        assert done == predicted
        assert one.file == wanted
        assert one.accepts(wanted)
        assert os.listdir(one.home) == [".erlang.cookie"]
    assert number > 50
    assert SWITCH in half_done
    assert connected(one)


@pytest.fixture(name="encrypted")
def _encrypted(hosts, tmp_path):
    """The first of the hosts, with its cookie encrypted on disk; and what is on its disk."""
    one, _other = hosts
    memory = tmp_path / "memory"
    memory.mkdir(mode=0o750)
    path = one.home / ".erlang.cookie"
    Sealed(str(path), str(memory / path.name), one.runner).write(OLD.encode(), 0o400, -1, -1)

    def on_disk():
        assert path.is_symlink()
        assert os.listdir(memory) == [path.name]
        assert sorted(os.listdir(one.home)) == [path.name, f"{path.name}.cred"]
        return Sealed.found_at(str(path), one.runner).decrypted().decode()

    return one, on_disk


def test_a_cookie_that_is_encrypted_stays_so(encrypted):
    one, on_disk = encrypted
    predicted = one.run(fresh(), check=True)
    assert on_disk() == OLD
    run, beside = one.runner.run, set()

    def look(argv, **options):
        beside.update(os.listdir(one.home))
        return run(argv, **options)

    one.runner.run = look
    assert one.run(fresh()) == predicted
    # The new one does not even wait on disk.
    assert beside == {".erlang.cookie", ".erlang.cookie.cred"}
    assert on_disk() == one.file == fresh()
    assert one.accepts(fresh())
    assert stat.S_IMODE((one.home / ".erlang.cookie").stat().st_mode) == 0o400
    assert not one.run(fresh())["changed"]
    assert connected(one)


def test_a_run_killed_while_it_encrypts_is_finished_by_the_next(encrypted):
    one, on_disk = encrypted
    number, on_disk_already = 0, set()
    while True:
        number += 1
        if not killed_after(number, lambda: one.run(fresh(number)), SEALING):  # noqa: B023
            break
        before = Sealed.found_at(str(one.home / ".erlang.cookie"), one.runner).decrypted().decode()
        on_disk_already.add((before == fresh(number), one.file == fresh(number)))
        assert one.run(fresh(number), "settled")
        one.run(fresh(number))
        assert on_disk() == one.file == fresh(number)
        assert one.accepts(fresh(number))
    # Before both, between them, and after both.
    assert on_disk_already == {(False, False), (True, False), (True, True)}
    assert connected(one)
