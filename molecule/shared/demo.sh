#!/usr/bin/env bash
# Three hosts, provisioned by the playbook that users run, and what then answers.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
inventory=$here/../default/inventory

python "$here/hosts.py" up "$inventory/hosts.yml"
ansible-playbook -i "$inventory" erlmcp.ops.site
ansible-playbook -i "$inventory" erlmcp.ops.check_health
python "$here/demo.py"
