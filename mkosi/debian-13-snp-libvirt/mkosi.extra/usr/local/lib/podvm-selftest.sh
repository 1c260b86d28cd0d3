# Shared by the selftest components: a report that each adds lines to, and a listening unix socket.
# shellcheck shell=sh

report=/run/podvm-selftest.report

# say PASS|FAIL WHAT: one line of the report, shown on the console too
say() {
    printf '%s %s: %s\n' "$1" "${0##*/}" "$2" >>"$report"
    printf 'podvm-selftest: %s %s: %s\n' "$1" "${0##*/}" "$2" >/dev/kmsg 2>/dev/null || :
}

# check WHAT COMMAND…: run a command and report how it ended
check() {
    what=$1
    shift
    if "$@" >/dev/null 2>&1; then say PASS "$what"; else say FAIL "$what"; fi
}

# serve SOCKET: become a listener that closes each connection; the real component's interface starts here
serve() {
    rm -f "$1"
    exec /usr/bin/systemd-socket-activate --accept --listen="$1" /usr/bin/true
}
