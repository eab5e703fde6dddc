#!/usr/bin/env bash
# Usage: timed.sh FILE NAME COMMAND...
#
# Runs the command and adds to FILE how many seconds it took.
set -euo pipefail

file=$1 name=$2
shift 2
started=$SECONDS
"$@"
printf '%6d s %s\n' $((SECONDS - started)) "$name" >> "$file"
