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
component=machine

no_failed_unit() {
    test -z "$(systemctl list-units --state=failed --plain --no-legend)"
}
# not before the image was made, nor so far ahead that certificates would have ended
clock_is_right() {
    now=$(date +%s)
    test "$now" -gt "$(stat -c %Y /etc/os-release)" -a "$now" -lt 4102444800
}
names_can_be_asked() {
    grep -q '^nameserver 127\.0\.0\.53$' /etc/resolv.conf && grep -q '^nameserver ' /run/systemd/resolve/resolv.conf
}
# the register holds what one extend from zero with the first 32 bytes of the digest gives
bound_to_initdata() {
    read -r held </sys/class/tpm/tpm0/pcr-sha256/8
    wanted=$({ head -c 32 /dev/zero && head -c 64 /run/peerpod/initdata.digest | tr a-f A-F | basenc --base16 -d; } | sha256sum)
    test "$(echo "$held" | tr A-F a-f)" = "${wanted%% *}"
}

# what is true only once the machine is up and reachable; told once
if mkdir /run/podvm-selftest.late 2>/dev/null; then
    check "no failed unit" no_failed_unit
    check "the clock is right" clock_is_right
    check "names can be asked for" names_can_be_asked
    [ ! -e /dev/tpmrm0 ] || [ ! -e /run/peerpod/initdata.digest ] ||
        check "PCR 8 holds the initdata's digest" bound_to_initdata
    mkdir /run/podvm-selftest.late/done
else
    until [ -d /run/podvm-selftest.late/done ]; do sleep 0.1; done
fi
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
