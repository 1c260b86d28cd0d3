"""Whether the programs of a lock are those that a target needs."""

from __future__ import annotations

from podvm_builder.errors import InputError
from podvm_builder.model.components import ComponentLock
from podvm_builder.model.plan import Plan
from podvm_builder.supply.published import ATTESTER_OF_EVIDENCE


def check_fit(lock: ComponentLock, plan: Plan) -> None:
    """See that a lock's programs are for a plan's architecture and give its evidence.

    A lock without a TEE is one whose attestation-agent is not of guest-components' releases: nothing is known of it.

    Raises:
        InputError: PVB747, they are not.
    """
    if lock.arch != plan.target.arch:
        raise InputError(
            f"the lock's programs are for {lock.arch}, and `{plan.target}` is for {plan.target.arch}",
            code="PVB747",
            hint=f"lock a set with `arch: {plan.target.arch}`",
        )
    wanted = ATTESTER_OF_EVIDENCE.get(plan.evidence.kind)
    if lock.tee is not None and wanted is not None and lock.tee != wanted:
        raise InputError(
            f"the lock's attestation-agent is for `{lock.tee}`, and the evidence of `{plan.target}` needs `{wanted}`",
            code="PVB747",
            hint=f"lock a set with `tee: {wanted}`",
        )
