#!/usr/bin/env bash
# Enable what the guest's preset names and disable every other unit of the vendor's.
set -euo pipefail

systemctl preset-all --preset-mode=full
systemctl set-default multi-user.target
