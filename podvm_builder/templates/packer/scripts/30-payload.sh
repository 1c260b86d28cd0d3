#!/usr/bin/env bash
# Put the guest's files in place: each as its line in the list says, `mode sha256 path`.
set -euo pipefail

while read -r mode digest path; do
    from=$PODVM_STAGE/payload/$path to=/$path
    if [[ $(sha256sum <"$from") != "$digest  -" ]]; then
        echo "$path was not uploaded as it is in the recipe" >&2
        exit 1
    fi
    # a link of the vendor's, such as to the null device, must not be written through
    [[ ! -L $to ]] || rm -- "$to"
    install -D --owner=root --group=root --mode="$mode" -- "$from" "$to"
done <"$PODVM_STAGE/lists/payload"
ldconfig
