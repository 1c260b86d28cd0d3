"""Policies run by a real Rego engine, as Trustee's attestation service runs them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from regopy import Interpreter

# what Trustee adds to its engine: null for a name that is not registered
_QUERY = "\nquery_reference_value(id) := object.get(data.registered, id, null)\n"


class Engine:
    """One policy with the reference values that are registered."""

    def __init__(self, policy: str, values: Mapping[str, Any]) -> None:
        """Compile the policy; ``values`` are there by function and, as up to 0.15, in ``data.reference``."""
        self._interpreter = Interpreter()
        self._interpreter.add_module("policy", policy + _QUERY)
        self._interpreter.add_data({"registered": dict(values), "reference": dict(values)})

    def trust_claims(self, evidence: str, claims: Mapping[str, Any]) -> dict[str, int]:
        """Return the trust vector that the policy gives to one machine."""
        self._interpreter.set_input({evidence: claims, "report_data": "", "init_data": ""})
        output = json.loads(str(self._interpreter.query("data.policy.trust_claims")))
        found = output["expressions"][0]
        assert isinstance(found, dict)
        return {part: int(value) for part, value in found.items()}
