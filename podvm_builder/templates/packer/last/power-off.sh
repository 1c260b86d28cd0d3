#!/usr/bin/env bash
# Power the machine off: its disk is the image.
set -euo pipefail

systemctl poweroff
