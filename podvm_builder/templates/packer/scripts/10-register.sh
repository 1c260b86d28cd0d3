#!/usr/bin/env bash
# Register the machine with Red Hat, where the variables say how; 70-unregister.sh takes it back.
set -euo pipefail

if [[ -z ${RHSM_ORG:-} || -z ${RHSM_ACTIVATION_KEY:-} ]]; then
    echo "no subscription was given: packages come from where the base image has them"
    exit 0
fi
if subscription-manager identity >/dev/null 2>&1; then
    echo "the machine is registered already"
    exit 0
fi
subscription-manager register --org "$RHSM_ORG" --activationkey "$RHSM_ACTIVATION_KEY"
