#!/usr/bin/env bash
# Every linter, nothing skipped.
set -euo pipefail

yamllint --strict .
ruff check --quiet .
ruff format --quiet --check .
git ls-files -z '*.sh' .ci/run | xargs -0 shellcheck
antsibull-changelog lint
copy=$(tests/copy.sh lint)
cd "$copy"
ANSIBLE_COLLECTIONS_PATH=${copy%/ansible_collections/*} ansible-lint --offline --strict
