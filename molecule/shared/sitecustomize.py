# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every Python of the tests on the control node reads this, as it is on their PYTHONPATH.

Ansible makes many objects and little garbage. Looking for the latter less often saves a tenth of its processor time
(``time ansible-playbook -i inventory converge.yml`` with and without this file, in a scenario's folder).
"""

import gc

gc.set_threshold(100_000)
