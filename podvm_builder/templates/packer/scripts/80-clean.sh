#!/usr/bin/env bash
# Take out what is this machine's own or secret: identity, keys, logs, caches, histories.
set -euo pipefail

# an empty machine-id is filled at each boot (machine-id(5)); absent, systemd would take it for a first boot
: >/etc/machine-id
rm -f /var/lib/dbus/machine-id /var/lib/systemd/random-seed /var/lib/systemd/credential.secret
rm -f /etc/ssh/ssh_host_*
rm -rf /var/lib/cloud/* /var/lib/waagent/* /var/lib/dhcp/* /var/lib/NetworkManager/* /etc/NetworkManager/system-connections/*
rm -rf /var/cache/apt/archives/*.deb /var/cache/apt/*.bin /var/lib/apt/lists/* /var/cache/dnf /var/cache/yum /var/cache/libdnf5
rm -rf /var/log/journal/*
find /var/log -type f -delete
find /root /home -xdev \( -name '.*_history' -o -name '.wget-hsts' -o -name '.lesshst' \) -delete
rm -rf /root/.cache
# no password is left that somebody could know
while IFS=: read -r name secret _; do
    [[ $secret != \$* && $secret != "" ]] || usermod --password '!*' "$name"
done < <(cat /etc/shadow)
