#!/usr/bin/env bash
# Install the packages of the list that are not there yet.
set -euo pipefail

missing=()
while read -r package; do
    rpm --quiet --query --whatprovides "$package" || missing+=("$package")
done <"$PODVM_STAGE/lists/packages"
if ((${#missing[@]} == 0)); then
    echo "all packages are there"
    exit 0
fi
dnf --assumeyes --setopt=install_weak_deps=False install "${missing[@]}"
