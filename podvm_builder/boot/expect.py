"""What a boot is held to: the document's predictions that hold for the machine, and where it has none, computed ones.

A document is made for a target's platform: its keys, its firmware and that firmware's habits. The machine here has
firmware of its own, with keys that are made for this run. So what the document leaves to the platform, or says of
another state of secure boot or another boot path, is predicted here by the same functions for the machine at hand.
A row of one variant is never compared with a boot of another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from podvm_builder.boot import prove
from podvm_builder.boot.firmware import BootFirmware
from podvm_builder.boot.folder import BuildOutput
from podvm_builder.boot.machine import BANKS, Machine
from podvm_builder.boot.userdata import INITDATA, initdata_text
from podvm_builder.measure.artifacts import read_boot_artifacts
from podvm_builder.measure.initdata import initdata_event
from podvm_builder.measure.secure_boot import Keys
from podvm_builder.measure.tpm import fold, predict_tpm
from podvm_builder.measure.tpm_boot import TpmBoot
from podvm_builder.model.event import Event
from podvm_builder.model.measurement import Measurement, Status
from podvm_builder.tools.files import FileReader, hashing_threads

_HABITS = "firmware that checks kernel hashes may try a boot twice and measure it twice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """The predictions that one boot is compared with."""

    rows: tuple[Measurement, ...]
    logs: Mapping[str, Sequence[Event]]
    """What the rows are folds of, by name."""
    log: Sequence[Event]
    """The machine's own log, which names what is extended."""
    computed: tuple[str, ...]
    """Registers with a value that the document does not have for this machine."""

    @property
    def any(self) -> bool:
        """Whether there is a value at all."""
        return any(row.value is not None for row in self.rows)


def expect(
    output: BuildOutput, machine: Machine, firmware: BootFirmware, *, image: Path, genuine: bool, keys: Keys | None
) -> Expectation:
    """Put together what a machine's TPM is held to.

    Args:
        output: the build's documents.
        machine: the machine.
        firmware: its firmware.
        image: the disk that will be booted, which may be a signed copy of the build's.
        genuine: the build's disk is the one that the manifest records. Nothing is computed from one that is not: such
            a prediction would follow every change, and prove nothing.
        keys: secure-boot variables of the machine; None where there are none.

    Raises:
        FormatError: the disk cannot be measured.
    """
    measurements = output.measurements
    facts: dict[str, str | int | bool] = {
        "boot": machine.boot,
        "vmm": "qemu",
        "vcpus": machine.vcpus,
        "secure_boot": machine.secure_boot,
        "firmware": f"sha256:{firmware.sha256}",
    }
    habits = dict.fromkeys((4, 5), _HABITS) if firmware.hash_table is not None else {}
    stated = [row for row in prove.relevant(measurements, facts) if prove.number(row) not in habits]
    log = measurements.logs.get(machine.boot, ())
    if not genuine:
        return Expectation(rows=tuple(stated), logs=measurements.logs, log=log, computed=())
    boot = TpmBoot(
        boot=machine.boot,
        secure_boot=machine.secure_boot,
        phases=output.manifest.phases,
        separators=bool(output.manifest.phases),
        keys=keys,
        platform=habits,
    )
    with FileReader(image) as reader:
        (found,) = predict_tpm(read_boot_artifacts(reader), [boot], banks=BANKS, workers=hashing_threads())
    bound = initdata_event(initdata_text(INITDATA))
    better = {prove.key(row): row for row in found.measurements if row.status is Status.PREDICTED}
    better |= {prove.key(row): row for row in (_binding(row, bound) for row in found.measurements) if row is not None}
    for row in stated:
        if row.status is Status.PREDICTED:
            better.pop(prove.key(row), None)
    said = {prove.key(row) for row in stated}
    rows = [row for row in stated if prove.key(row) not in better]
    rows += [row for row in found.measurements if row.status is not Status.PREDICTED and prove.key(row) not in said]
    added = [replace(row, origin=("log", prove.COMPUTED)) for row in better.values()]
    return Expectation(
        rows=(*rows, *added),
        logs={**measurements.logs, prove.COMPUTED: (*found.log, bound)},
        log=(*found.log, bound),
        computed=tuple(dict.fromkeys(row.register for row in added)),
    )


def _binding(row: Measurement, bound: Event) -> Measurement | None:
    """Return the row of the register that this machine's initdata goes to, with its value; None for other rows."""
    if prove.number(row) != bound.pcr or row.alg not in bound.digests:
        return None
    return replace(row, status=Status.PREDICTED, value=fold((bound,), bound.pcr, row.alg), reason=None)
