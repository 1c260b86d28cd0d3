#!/bin/sh
# Make this machine, or the root file system of another, a pod VM: put the payload beside this script into it and enable its
# units. What the machine has already stays: its network, its users, its kernel and command line.
#
# usage: setup.sh [--root DIR] [--no-start]
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=/
start=yes
while [ $# -gt 0 ]; do
    case $1 in
    --root)
        root=${2:?usage: setup.sh [--root DIR] [--no-start]}
        shift
        ;;
    --no-start) start=no ;;
    *)
        echo "usage: setup.sh [--root DIR] [--no-start]" >&2
        exit 2
        ;;
    esac
    shift
done
root=$(cd "$root" && pwd)
[ "$root" = / ] || start=no

lacking=
while read -r program; do
    found=
    for folder in usr/local/sbin usr/local/bin usr/sbin usr/bin sbin bin; do
        [ ! -x "${root%/}/$folder/$program" ] || found=yes
    done
    [ -n "$found" ] || lacking="$lacking $program"
done <"$here/programs"
if [ -n "$lacking" ]; then
    echo "the machine lacks these programs:$lacking" >&2
    exit 1
fi

(cd "$here/root" && tar -cf - .) | (cd "$root" && tar --no-same-owner --no-overwrite-dir -xf -)
systemd-sysusers --root="$root"
systemd-tmpfiles --root="$root" --create --prefix=/media --prefix=/etc/kata-opa
while read -r unit; do
    systemctl --root="$root" enable "$unit"
done <"$here/units"

if [ "$start" = yes ]; then
    systemctl daemon-reload
    udevadm control --reload
    systemd-tmpfiles --create --prefix=/run/peerpod --prefix=/var/lib/kubelet
    while read -r unit; do
        systemctl start --no-block "$unit"
    done <"$here/units"
fi
