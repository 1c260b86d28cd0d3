# Shared by the selftest components: a report that each adds lines to, and a listening unix socket.
# shellcheck shell=sh

report=/run/podvm-selftest.report
component=${0##*/}

# say PASS|FAIL WHAT: one line of the report, shown on the console too
say() {
    printf '%s %s: %s\n' "$1" "$component" "$2" >>"$report"
    printf 'podvm-selftest: %s %s: %s\n' "$1" "$component" "$2" >/dev/kmsg 2>/dev/null || :
}

# check WHAT COMMAND…: run a command and report how it ended
check() {
    what=$1
    shift
    if "$@" >/dev/null 2>&1; then say PASS "$what"; else say FAIL "$what"; fi
}

# is_toml FILE: every line is one that TOML has: a table, a key with a value, or part of a value that goes on
is_toml() {
    [ -r "$1" ] && awk '
        fence != "" { if (index($0, fence)) fence = ""; next }
        depth > 0 || /^[A-Za-z0-9_."-]+ *= *\[/ { depth += gsub(/\[/, "") - gsub(/\]/, ""); next }
        /^[ \t]*(#.*)?$/ || /^\[\[?[A-Za-z0-9_."\/ -]+\]\]? *(#.*)?$/ { next }
        /^[ \t]*[A-Za-z0-9_."-]+ *= *[^ ]/ {
            rest = $0; sub(/^[^=]*= */, "", rest); start = substr(rest, 1, 3)
            if ((start == "\047\047\047" || start == "\"\"\"") && !index(substr(rest, 4), start)) fence = start
            next
        }
        { exit bad = 1 }
        END { exit bad || fence != "" || depth != 0 }
    ' "$1"
}

# is_json FILE: an object or a list, whose brackets and quotes have their fellows
is_json() {
    [ -r "$1" ] && awk '
        { text = text $0 "\n" }
        END {
            gsub(/\\./, "", text)
            if (gsub(/"[^"]*"/, "", text) == 0 && text !~ /^[ \n]*[\[{][ \n]*[\]}][ \n]*$/) exit 1
            opened = gsub(/[\[{]/, "", text); closed = gsub(/[\]}]/, "", text)
            exit opened == 0 || opened != closed || text ~ /"/
        }
    ' "$1"
}

# serve SOCKET: become a listener that closes each connection; the real component's interface starts here
serve() {
    rm -f "$1"
    exec /usr/bin/systemd-socket-activate --accept --listen="$1" /usr/bin/true
}
