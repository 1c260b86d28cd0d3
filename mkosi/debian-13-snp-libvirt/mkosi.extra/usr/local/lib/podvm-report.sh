#!/bin/sh
# What the selftest forwarder answers a connection with: the report of all selftest components, then what this machine
# knows of its boot's times, in microseconds since the kernel's start:
#
#   TIME init START            the kernel runs /init
#   TIME systemd START         the init system of the root file system
#   TIME unit NAME START UP    a unit leaves its rest, and is up (0: not yet)
set -eu
# shellcheck source=podvm-selftest.sh
. /usr/local/lib/podvm-selftest.sh

cat "$report"
dmesg | sed -n 's|^\[ *\([0-9]*\)\.\([0-9]\{6\}\)\] Run /init as init process$|TIME init \1\2|p'
systemctl show --property UserspaceTimestampMonotonic | sed -n 's/^[A-Za-z]*=\([0-9]*\)$/TIME systemd \1/p'
systemctl show --property Id,InactiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic \
    '*.service' '*.path' '*.socket' '*.mount' '*.target' | awk -F= '
    function finish() { if (name != "" && start > 0) print "TIME unit", name, start, up; name = "" }
    $1 == "Id" { name = $2 }
    $1 == "InactiveExitTimestampMonotonic" { start = $2 }
    $1 == "ActiveEnterTimestampMonotonic" { up = $2 }
    $0 == "" { finish() }
    END { finish() }
'
