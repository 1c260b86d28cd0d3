#!/usr/bin/env bash
# Install the packages of the list that are not there yet.
set -euo pipefail

export DEBIAN_FRONTEND=noninteractive
missing=()
while read -r package; do
    name=${package%%=*}
    state=$(dpkg-query --show --showformat='${db:Status-Status}' "$name" 2>/dev/null || true)
    [[ $state == installed && $package == "$name" ]] || missing+=("$package")
done <"$PODVM_STAGE/lists/packages"
if ((${#missing[@]} == 0)); then
    echo "all packages are there"
    exit 0
fi
apt-get --quiet update
apt-get --quiet --yes --no-install-recommends install "${missing[@]}"
