# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import os
import pwd
import stat
import threading

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._core import trees
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.files import exchange

NOBODY = pwd.getpwnam("nobody")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="files are given to another account")


@pytest.fixture
def secret(tmp_path):
    """A directory of root's that nobody may be led to."""
    directory = tmp_path / "roots"
    directory.mkdir(mode=0o700)
    (directory / "secret").write_text("secret")
    (directory / "secret").chmod(0o600)
    return directory


@pytest.fixture
def data(tmp_path):
    """A directory of the account."""
    directory = tmp_path / "data"
    for name in ("a", "b/c", "b/d/e"):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(name)
    if os.geteuid() == 0:
        for path in (directory, *directory.rglob("*")):
            os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    return directory


@contextlib.contextmanager
def exchanged_all_the_time(one, other):
    """Inside, both change places in a loop, in one step each."""
    done = threading.Event()

    def attack():
        while not done.is_set():
            with contextlib.suppress(OSError):
                exchange(str(one), str(other))

    attacker = threading.Thread(target=attack)
    attacker.start()
    try:
        yield
    finally:
        done.set()
        attacker.join()


def names(directory, **options):
    return [name for name, _status in trees.walk(str(directory), **options)]


def copied(source, target, wanted):
    target.mkdir(mode=0o700)
    with trees.opened(str(target)) as descriptor:
        return trees.copy(str(source), wanted, descriptor)


def test_a_walk_yields_what_is_there_and_follows_no_link(data, secret):
    (data / "link").symlink_to(secret)
    (data / "b" / "link").symlink_to(secret / "secret")
    assert names(data) == ["a", "link", "b/c", "b/link", "b/d/e"]
    assert names(data, directories=True) == ["a", "b", "link", "b/c", "b/d", "b/link", "b/d/e"]
    assert names(data, enter=lambda name: name != "b/d") == ["a", "link", "b/c", "b/link"]
    assert names(data / "missing") == []


def test_a_walk_does_not_go_on_for_ever(tmp_path):
    deep = tmp_path
    for _number in range(trees.MAX_DEPTH + 5):
        deep /= "d"
        deep.mkdir()
    with pytest.raises(OpsError, match="nested deeper than"):
        names(tmp_path)
    assert trees.size(str(tmp_path)) == 0


@as_root
def test_a_link_is_followed_only_where_root_alone_can_put_one(data, secret, tmp_path):
    (tmp_path / "roots-link").symlink_to("data")
    (data / "link").symlink_to(secret)
    with trees.opened(str(tmp_path / "roots-link" / "b")) as found:
        assert os.fstat(found).st_ino == (data / "b").stat().st_ino
    with pytest.raises(OpsError, match=rf"{data}/link is a link: somebody"), trees.opened(str(data / "link")):
        pass
    with pytest.raises(OpsError, match="is a link"), trees.opened(str(data / "link" / "new"), make_mode=0o755):
        pass
    assert os.listdir(secret) == ["secret"]


def test_links_in_a_circle_and_missing_directories_are_errors(tmp_path):
    (tmp_path / "one").symlink_to("other")
    (tmp_path / "other").symlink_to("one")
    with pytest.raises(OSError, match="Too many levels"), trees.opened(str(tmp_path / "one")):
        pass
    with pytest.raises(FileNotFoundError, match="missing"), trees.opened(str(tmp_path / "missing")):
        pass
    with trees.opened(str(tmp_path / "x" / "y"), make_mode=0o750) as made:
        assert os.fstat(made).st_ino == (tmp_path / "x" / "y").stat().st_ino


@as_root
def test_a_place_that_the_account_could_exchange_is_refused(data, tmp_path):
    trees.check_place(str(tmp_path / "new"), NOBODY)
    with pytest.raises(OpsError, match=f"Give {data}/b to root"):
        trees.check_place(str(data / "b" / "new"), NOBODY)
    for mode, gid in ((0o777, 0), (0o775, NOBODY.pw_gid)):
        tmp_path.chmod(mode)
        os.chown(tmp_path, 0, gid)
        with pytest.raises(OpsError, match="chmod go-w"):
            trees.check_place(str(tmp_path / "new"), NOBODY)
    for mode, gid in ((0o1777, NOBODY.pw_gid), (0o775, 0)):
        tmp_path.chmod(mode)
        os.chown(tmp_path, 0, gid)
        trees.check_place(str(tmp_path / "new"), NOBODY)


def test_only_regular_files_are_read(data, secret):
    (data / "link").symlink_to(secret / "secret")
    (data / "away").symlink_to(secret)
    os.mkfifo(data / "pipe")
    assert trees.read(str(data), "b/c", 2) == b"b/"
    assert trees.read(str(data), "b/c", 2, from_end=True) == b"/c"
    for name in ("link", "away/secret", "pipe", "b", "missing"):
        assert trees.read(str(data), name, 100) is None


@as_root
def test_what_is_given_has_the_directory_itself_last(data, tmp_path):
    new = tmp_path / "new"
    assert copied(data, new, ["a", "b"]) == []
    trees.give(str(new), NOBODY.pw_uid, NOBODY.pw_gid, 0o750)
    assert new.stat().st_uid == 0
    assert {path.stat().st_uid for path in new.rglob("*")} == {NOBODY.pw_uid}
    assert stat.S_IMODE((new / "b" / "d").stat().st_mode) == 0o750
    trees.give_itself(str(new), NOBODY.pw_uid, NOBODY.pw_gid, 0o711)
    assert (new.stat().st_uid, stat.S_IMODE(new.stat().st_mode)) == (NOBODY.pw_uid, 0o711)


@as_root
def test_what_is_somebody_elses_already_is_not_touched(data):
    """Who owns a directory could exchange what is in it before it is given."""
    with pytest.raises(OpsError, match="b/d/e belongs to somebody else"):
        trees.give(str(data), NOBODY.pw_uid, NOBODY.pw_gid, 0o700)


def test_a_copy_has_contents_modes_times_and_holes(data, tmp_path, secret):
    with open(data / "b" / "holes", "wb") as stream:
        stream.truncate(1024**3)
        stream.seek(512 * 1024**2)
        stream.write(b"in the middle")
    (data / "a").chmod(0o604)
    os.utime(data / "a", (1, 2))
    (data / "b" / "link").symlink_to(secret / "secret")
    os.mkfifo(data / "b" / "pipe")
    new = tmp_path / "new"
    assert copied(data, new, ["a", "b"]) == ["b/link", "b/pipe"]
    assert sorted(path.name for path in new.rglob("*")) == ["a", "b", "c", "d", "e", "holes"]
    assert ((new / "a").read_text(), (new / "a").stat().st_mtime) == ("a", 2)
    assert stat.S_IMODE((new / "a").stat().st_mode) == 0o604
    with open(new / "b" / "holes", "rb") as stream:
        stream.seek(512 * 1024**2)
        assert stream.read(13) == b"in the middle"
    found = (new / "b" / "holes").stat()
    assert (found.st_size, found.st_blocks * 512 < 1024**2) == (1024**3, True)


def test_only_the_names_that_are_wanted_are_copied(data, tmp_path):
    copied(data, tmp_path / "new", ["a"])
    assert os.listdir(tmp_path / "new") == ["a"]


def test_a_copy_without_the_help_of_the_kernel(data, tmp_path, monkeypatch):
    def refuse(*_arguments):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    copied(data, tmp_path / "new", ["a", "b"])
    assert (tmp_path / "new" / "b" / "d" / "e").read_text() == "b/d/e"


@as_root
def test_a_hard_link_to_a_file_of_root_is_not_copied(data, tmp_path, secret):
    os.link(secret / "secret", data / "b" / "mine")
    with pytest.raises(OpsError, match="b/mine is a hard link to a file of somebody else"):
        copied(data, tmp_path / "new", ["b"])
    os.unlink(data / "b" / "mine")
    os.link(data / "a", data / "b" / "own")
    copied(data, tmp_path / "other", ["b"])
    assert (tmp_path / "other" / "b" / "own").read_text() == "a"


@pytest.mark.parametrize("rounds", [200])
@as_root
def test_an_exchanged_directory_leads_nowhere(data, tmp_path, secret, rounds):
    """The account exchanges a directory and a link to one of root's, in one step, all the time."""
    (secret / "d").mkdir()
    (secret / "d" / "e").write_text("secret")
    (data / "link").symlink_to(secret)
    with exchanged_all_the_time(data / "b", data / "link"):
        for number in range(rounds):
            new = tmp_path / f"new{number}"
            with contextlib.suppress(OpsError):
                copied(data, new, ["a", "b", "link"])
            assert "secret" not in {path.read_text() for path in new.rglob("*") if path.is_file()}
            assert trees.read(str(data), "b/secret", 100) is None
            assert not {"b/secret", "link/secret"} & set(names(data))
            with contextlib.suppress(OSError, OpsError), trees.opened(str(data / "b"), make_mode=0o755) as found:
                os.fchown(found, NOBODY.pw_uid, NOBODY.pw_gid)
            trees.remove(str(new))
    assert {path.stat().st_uid for path in (secret, *secret.rglob("*"))} == {0}


@as_root
def test_what_is_made_is_not_exchanged_before_it_is_opened(data, secret):
    """A name that is taken is an error; what is opened is what was made, or nothing."""
    with trees.opened(str(data)) as top:
        with trees.made(top, "new", 0o711) as new:
            assert stat.S_IMODE(os.fstat(new).st_mode) == 0o711
        (data / "taken").symlink_to(secret)
        with pytest.raises(FileExistsError), trees.made(top, "taken", 0o711):
            pass


def test_removal_takes_links_for_links_and_any_depth(data, secret, tmp_path):
    with trees.opened(str(data)) as top:
        for _number in range(1500):
            os.mkdir("d", dir_fd=top)
            below = os.open("d", os.O_RDONLY, dir_fd=top)
            os.dup2(below, top)
            os.close(below)
    (data / "link").symlink_to(secret)
    (tmp_path / "link").symlink_to(secret)
    with trees.opened(str(data)) as top:
        trees.remove(str(tmp_path / "link"))
        trees.remove(str(data))
        trees.remove(str(data))
        assert trees.is_removed(top)
    assert (secret / "secret").read_text() == "secret"
    assert not os.path.lexists(tmp_path / "link")
