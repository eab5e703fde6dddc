#!/usr/bin/env bash
# Runs ansible-test sanity on a copy of the tree, at the path that it insists on, with an empty ignore list.
set -euo pipefail

copy=$(tests/copy.sh sanity)
work=$ERLMCP_OPS_CACHE/sanity
mkdir -p "$work"
export HOME=$work/home

# ansible-test downloads a bootstrap script for pip; Python's own ensurepip does the same without that download.
bootstrap=$HOME/.ansible/test/cache
mkdir -p "$bootstrap"
package=$(python -c 'import ansible_test, os; print(os.path.dirname(ansible_test.__file__))')
version=$(sed -n "s/^ *pip='\(.*\)',/\1/p" "$package/_internal/python_requirements.py")
cp tests/get_pip.py "$bootstrap/get_pip_${version//./_}.py"

# It runs every Python on the PATH, shims that answer "not found" among them.
cd "$copy"
PATH=$(dirname "$(command -v ansible-test)"):/usr/local/bin:/usr/bin:/bin \
    ansible-test sanity --venv --python "$(python -c 'import sys; print("%d.%d" % sys.version_info[:2])')" \
    --color no > "$work/output" 2>&1 || { grep -E '^(ERROR|FATAL)' "$work/output"; exit 1; }
grep -c '^Running sanity test' "$work/output" | sed 's/$/ sanity tests passed/'
