#!/bin/sh
# Describe this machine's NVIDIA devices, and the driver's libraries and programs, as the kata agent reads them: Container
# Device Interface 0.6, /run/cdi/nvidia.json. Where the vendor's container toolkit is in the image, that does it.
set -eu

spec=/run/cdi/nvidia.json
mkdir -p "${spec%/*}"
if [ -x /usr/bin/nvidia-ctk ]; then
    exec /usr/bin/nvidia-ctk cdi generate --format=json --output="$spec"
fi

# device nodes appear when the driver is first used
nvidia-modprobe -c 0 -u 2>/dev/null || nvidia-smi -L >/dev/null

node() { printf '{"path": "%s"}' "$1"; }
# the items of a list, with a comma between them
joined() {
    separator=
    for item in "$@"; do
        printf '%s%s' "$separator" "$item"
        separator=', '
    done
}

set --
for device in /dev/nvidiactl /dev/nvidia-uvm /dev/nvidia-uvm-tools /dev/nvidia-modeset; do
    [ ! -c "$device" ] || set -- "$@" "$(node "$device")"
done
common=$(joined "$@")

set --
all=
for device in /dev/nvidia[0-9] /dev/nvidia[0-9][0-9]; do
    [ -c "$device" ] || continue
    set -- "$@" "{\"name\": \"${device#/dev/nvidia}\", \"containerEdits\": {\"deviceNodes\": [$(node "$device")]}}"
    all=${all:+$all, }$(node "$device")
done
[ $# -gt 0 ] || { echo "the driver is loaded, and there is no device" >&2; exit 1; }
devices=$(joined "$@" "{\"name\": \"all\", \"containerEdits\": {\"deviceNodes\": [$all]}}")

set --
for file in $(ldconfig -p | sed -n 's,.*=> \(/.*/lib\(cuda\|nvcuvid\|nvidia-[a-z0-9-]*\)\.so.*\)$,\1,p' | sort -u) \
    /usr/bin/nvidia-smi /usr/bin/nvidia-persistenced; do
    [ -e "$file" ] || continue
    set -- "$@" "{\"hostPath\": \"$file\", \"containerPath\": \"$file\", \"options\": [\"ro\", \"nosuid\", \"nodev\", \"bind\"]}"
done

cat >"$spec.new" <<EOF
{
  "cdiVersion": "0.6.0",
  "kind": "nvidia.com/gpu",
  "devices": [$devices],
  "containerEdits": {
    "deviceNodes": [$common],
    "mounts": [$(joined "$@")]
  }
}
EOF
mv "$spec.new" "$spec"
