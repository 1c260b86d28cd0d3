"""Makes tables of the boots that `make e2e` did: docs/boot-matrix.md and docs/tamper.md.

    python scripts/boot_tables.py [RESULTS]

RESULTS is the folder that the tests keep their rows in, build/e2e by default. A table of which not all boots were run
stays as it is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent

Row = Mapping[str, Any]

MATRIX = """\
# Boots that prove the predictions

Written by `make e2e` from boots of `debian-13/snp/libvirt` with the selftest components. Every boot compares PCR 4, 5,
7, 9 and 11 to 14 in the banks sha1, sha256 and sha384, and whatever else is predicted, with what the TPM holds once
the guest is up. `podvm-build boot` makes each of them: see [the command line](cli.md).

Run with {versions}.

| boot | started by the firmware | secure boot | disk | vCPUs | boot phases | values equal |
|---|---|---|---|---|---|---|
{rows}

- `disk`: the firmware finds the disk first in its boot order. `direct`: QEMU hands the UKI over (`-kernel`).
- `ovmf-amdsev` checks the kernel hash table that the SNP launch digest covers, put here where QEMU puts it under SNP.
  With a UKI that the table does not cover it starts nothing. Its PCR 4 and 5 have habits of their own and are not
  predicted.
- Secure boot `absent` is firmware built without it, `off` firmware without keys, `on` firmware with keys of the boot's
  own and a signed UKI.
- Boot phases: where they are on, PCR 11 is compared at `sysinit` and at `ready`.
"""

TAMPER = """\
# What comes of tampering

Written by `make e2e`: each row is a boot of a production image of `debian-13/snp/libvirt` with one change, and says
what happened. A change keeps the image from coming up, or is seen in a register that a verifier checks, or has no
effect.

| change | comes up | seen in | effect |
|---|---|---|---|
{rows}

The registers are those of a TPM. What ties evidence to the image under SNP and TDX, and on which cloud, is in
[Measurements](measurements.md). A change that is seen is only refused by a verifier whose policy holds the register.
"""


def main() -> int:
    """Write the tables; return the exit code."""
    sys.path.insert(0, str(PROJECT))
    from tests.e2e.test_boot_matrix import ROWS
    from tests.support.tampering import CASES

    results = Path(sys.argv[1]) if len(sys.argv) > 1 else PROJECT / "build" / "e2e"
    done = [
        write(results / "matrix", len(ROWS), PROJECT / "docs" / "boot-matrix.md", matrix),
        write(results / "tamper", len(CASES), PROJECT / "docs" / "tamper.md", tamper),
    ]
    return 0 if all(done) else 1


def write(folder: Path, count: int, page: Path, render: Callable[[Sequence[Row]], str]) -> bool:
    """Write a page if all of its boots were run; say so otherwise."""
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    if len(rows) != count:
        print(f"{page.name}: {len(rows)} of {count} boots in {folder}; the page stays as it is", file=sys.stderr)
        return False
    page.write_text(render(rows), encoding="utf-8")
    print(f"wrote {page}", file=sys.stderr)
    return True


def matrix(rows: Sequence[Row]) -> str:
    """Return the page of the machines on which predictions were proved."""
    versions = next(row["versions"] for row in rows if "versions" in row)
    return MATRIX.format(
        versions=", ".join(f"{name} {version}" for name, version in sorted(versions.items())),
        rows="\n".join(map(_matrix_row, rows)),
    )


def _matrix_row(row: Row) -> str:
    if "skipped" in row:
        verdict = f"not run: {row['skipped']}"
    elif row["outcome"] != "up":
        verdict = f"did not come up: {row['outcome']}"
    else:
        verdict = f"{row['equal']} of {row['compared']}"
    phases = "on" if row["phases"] else "masked"
    return _line(row["boot"], row["loader"], row["secure_boot"], row["disk"], row["vcpus"], phases, verdict)


def tamper(rows: Sequence[Row]) -> str:
    """Return the page of what comes of changes to the image and of what the host says."""
    return TAMPER.format(rows="\n".join(map(_tamper_row, rows)))


def _tamper_row(row: Row) -> str:
    failed = row["outcome"] != "up"
    if failed:
        seen, effect = "", row["note"] or row["reason"].partition("] ")[2] or row["reason"]
    else:
        seen = ", ".join(f"PCR {pcr}" for pcr in row["registers"])
        effect = row["note"] or ("" if seen else "none")
    return _line(row["what"], "no" if failed else "yes", seen or "–", effect or "–")


def _line(*cells: object) -> str:
    return f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |"


if __name__ == "__main__":
    sys.exit(main())
