#!/usr/bin/env bash
# Give the guest's files the SELinux labels of the policy.
set -euo pipefail

while read -r _ _ path; do
    printf '/%s\n' "$path"
done <"$PODVM_STAGE/lists/payload" | restorecon -F -f -
