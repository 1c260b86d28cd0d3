#!/usr/bin/env bash
# Remove whoever built the image, their keys, and these files; then do what PODVM_LAST names, if anything.
set -euo pipefail

last=$(mktemp --directory --tmpdir=/run)
[[ -z ${PODVM_LAST:-} ]] || cp -- "$PODVM_STAGE/last/$PODVM_LAST.sh" "$last/"
rm -rf /root/.ssh/authorized_keys "$PODVM_STAGE"
rm -f /etc/sudoers.d/90-cloud-init-users /etc/sudoers.d/google_sudoers /etc/sudoers.d/waagent
if [[ $PODVM_USER != root ]] && id "$PODVM_USER" >/dev/null 2>&1; then
    # they are logged in right now, hence by force
    userdel --force --remove "$PODVM_USER"
fi
[[ $0 != /tmp/* ]] || rm -f -- "$0"
sync
[[ -z ${PODVM_LAST:-} ]] || exec bash "$last/$PODVM_LAST.sh"
