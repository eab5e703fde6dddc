# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the private keys of the sets are kept: in plain text, or on disk only encrypted, see :class:`Sealed`."""

from __future__ import annotations

import contextlib
import os

from .._core.files import read_if_there, write_atomically
from .._core.sealed import Sealed
from .._core.sets import FILE_MODE, write_files


class Keys:
    """The files with a private key in the sets of one host.

    :param sets: :class:`Sets`.
    :param names: which files of a set these are.
    :param memory: directory for what is readable; ``None`` for plain text on disk.
    :param runner: a :class:`Runner`.
    """

    def __init__(self, sets, names, memory, runner):
        self._sets = sets
        self._names = names
        self._memory = memory
        self._runner = runner

    @property
    def form(self):
        """How they are to be kept, for the diff."""
        return "encrypted on disk" if self._memory else "in plain text"

    def read(self, name, file):
        """Return the bytes of a file of a set, ``None`` where it is missing or cannot be decrypted."""
        path = self._path(name, file)
        found = read_if_there(path)
        sealed = Sealed.found_at(path, self._runner)
        return sealed.decrypted() if found is None and sealed else found

    def strays(self):
        """Return set and file of each that is not kept as is wanted, and can be."""
        current = self._sets.slots.state().current
        return [
            (name, file)
            for name in self._sets.slots.names()
            for file in self._names
            if not self._is_kept_as_wanted(name, file, name == current) and self.read(name, file) is not None
        ]

    def convert(self, name, file):
        """Keep a file of a set as is wanted. Its content stays."""
        content = self.read(name, file)
        if self._memory:
            self._sealed(name, file).write(content, FILE_MODE, -1, self._sets.gid)
            return
        path = self._path(name, file)
        sealed = Sealed.found_at(path, self._runner)
        write_atomically(path, content, FILE_MODE, gid=self._sets.gid)
        os.unlink(f"{path}.cred")
        if sealed:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(sealed.runtime_path)

    def writer(self, name):
        """Return what writes the set ``name``, for :meth:`Sets.add`."""
        if self._memory is None:
            return write_files

        def write(directory, files, gid):
            for file in self._names:
                self._sealed(name, file, directory).write(files[file], FILE_MODE, -1, gid)
            write_files(directory, {**files, **dict.fromkeys(self._names)}, gid)

        return write

    def forget(self):
        """Take out of memory what is of sets that are gone."""
        if self._memory is None:
            return
        kept = {f"{name}.{file}" for name in self._sets.slots.names() for file in self._names}
        for entry in os.listdir(self._memory):
            if entry.endswith(self._names) and entry not in kept:
                os.unlink(os.path.join(self._memory, entry))

    def _path(self, name, file):
        return os.path.join(self._sets.slots.path(name), file)

    def _sealed(self, name, file, directory=None):
        """``directory`` is where the set is before it has its name."""
        path = os.path.join(directory, file) if directory else self._path(name, file)
        return Sealed(path, os.path.join(self._memory, f"{name}.{file}"), self._runner)

    def _is_kept_as_wanted(self, name, file, is_current):
        path = self._path(name, file)
        if self._memory is None:
            return not os.path.lexists(f"{path}.cred")
        sealed = self._sealed(name, file)
        if not sealed.is_linked or not os.path.exists(sealed.encrypted_path):
            return False
        # Nobody reads the others, and a boot does not decrypt them.
        return not is_current or sealed.decrypted() == read_if_there(path)
