#!/usr/bin/env bash
# Add the words of the list to the kernel's command line, whichever boot loader the vendor's image has.
set -euo pipefail

words=()
while read -r word; do
    [[ " $(</proc/cmdline) " == *" $word "* ]] || words+=("$word")
done <"$PODVM_STAGE/lists/cmdline"
if ((${#words[@]} == 0)); then
    echo "the machine runs with all of the words"
elif command -v grubby >/dev/null; then
    grubby --update-kernel=ALL --args="${words[*]}"
elif command -v update-grub >/dev/null; then
    install -d /etc/default/grub.d
    # vendors' files in this folder set the variable anew: ours is read last
    # shellcheck disable=SC2016 # grub's configuration expands it
    printf 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX %s"\n' "${words[*]}" >/etc/default/grub.d/99-podvm.cfg
    update-grub
else
    echo "no boot loader whose command line could be changed: neither grubby nor update-grub is there" >&2
    exit 1
fi
