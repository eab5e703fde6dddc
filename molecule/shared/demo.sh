#!/usr/bin/env bash
# Three hosts, provisioned by the playbook that users run, and what then answers.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
inventory=$here/../default/inventory

python "$here/hosts.py" up "$inventory/hosts.yml"
ansible-playbook -i "$inventory" erlmcp.ops.site
ansible-playbook -i "$inventory" erlmcp.ops.check_health
cat <<TEXT

Three nodes of the reference release (a stand-in for erlmcp) are running. Try:

$(ansible-inventory -i "$inventory" --list | python -c '
import json, sys
hosts = json.load(sys.stdin)["_meta"]["hostvars"]
for name, variables in sorted(hosts.items()):
    address = variables["ansible_host"]
    print(f"  {name}")
    print(f"    curl http://{address}:8080/health")
    print(f"    curl http://{address}:9090/metrics")
')

  ssh -i $(python "$here/hosts.py" key) -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null root@10.83.1.11 erlmcp ping

make clean stops them.
TEXT
