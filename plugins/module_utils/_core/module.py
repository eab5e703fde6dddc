# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The boundary between Ansible and the topics: one ``except``, one ``fail_json``."""

from __future__ import annotations

import os

from .errors import OpsError, system_error


def take_no_umask():
    """Let directories that are made on the way be for everybody, whatever the umask of a login is.

    With 077 the account of the node could not enter the parents of its data directory. What is not for everybody is
    given its mode.
    """
    os.umask(0o022)


def run(module, action):
    """Call ``action(module)`` and exit with the dict it returns.

    :param module: an ``AnsibleModule``.
    :param action: a function from the module to its result, with ``warnings`` if there are any; raises
        :class:`OpsError` to refuse.
    """
    take_no_umask()
    try:
        result = action(module)
    except (OpsError, OSError) as raised:
        error = system_error(raised) if isinstance(raised, OSError) else raised
        module.fail_json(msg=str(error), failure=error.as_dict())
    # As a key of the result they are deprecated, and gone with ansible-core 2.23.
    for warning in result.pop("warnings", []):
        module.warn(warning)
    module.exit_json(**result)
