"""What an initdata document comes to: its digest, and what each place of a machine's evidence holds for it."""

from __future__ import annotations

import base64
from typing import Any

from podvm_builder.formats.initdata import Initdata
from podvm_builder.measure.initdata import bindings

SCHEMA = "podvm-initdata/1"


def initdata_to_json(initdata: Initdata) -> dict[str, Any]:
    """Return the digest and the bindings as JSON, schema ``podvm-initdata/1``."""
    return {
        "schema": SCHEMA,
        "algorithm": initdata.algorithm,
        "digest": initdata.digest.hex(),
        "data": list(initdata.data),
        "bindings": [
            {
                "register": row.register,
                "value": row.value.hex(),
                "base64": base64.b64encode(row.value).decode(),
                "note": row.note or None,
            }
            for row in bindings(initdata.digest)
        ],
    }


def render_initdata(initdata: Initdata) -> str:
    """Return the same as aligned lines of text."""
    rows = [(f"digest ({initdata.algorithm})", initdata.digest.hex(), "")]
    rows += [(row.register, row.value.hex(), row.note) for row in bindings(initdata.digest)]
    width = max(len(name) for name, *_ in rows)
    return "\n".join(f"{name:<{width}}  {value}" + (f"  ({note})" if note else "") for name, value, note in rows)
