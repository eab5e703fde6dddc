#!/usr/bin/env bash
# Usage: copy.sh NAME. Copies the tree for the check of that name to the path that ansible-test and ansible-lint insist on,
# ansible_collections/erlmcp/ops, and prints it. Checks run side by side.
set -euo pipefail

# Of this checkout: another one may be checked at the same time.
copy=$ANSIBLE_COLLECTIONS_PATH/copy/$1/ansible_collections/erlmcp/ops
mkdir -p "$copy"
git ls-files -z --cached --others --exclude-standard --deduplicate \
    | while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done \
    | rsync -a --from0 --files-from=- . "$copy.new/"
rm -rf "$copy"
mv -T "$copy.new" "$copy"
echo "$copy"
