"""PCRs of an image beside the bare hashing of what they cover, in one run.

    python tests/bench/bench_tpm.py [IMAGE]

IMAGE is a raw disk or a UKI; without one, a UKI of 250 MB is made. The bare work is, bank after bank, one hash over the
UKI's Authenticode bytes, one over each measured section, one over the inner kernel's Authenticode bytes, all in memory
already. Every number is the best of runs that take turns; it prints ratios, and fails nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from podvm_builder.formats.cpio import CpioFile, stub_archive
from podvm_builder.formats.pe import authenticode_ranges, parse_pe
from podvm_builder.formats.readers import read_all
from podvm_builder.measure.artifacts import read_boot_artifacts
from podvm_builder.measure.machine import measure_tpm
from podvm_builder.measure.stub import stub_rules
from podvm_builder.measure.tpm import DEFAULT_BANKS, predict_tpm
from podvm_builder.measure.tpm_boot import TpmBoot
from podvm_builder.tools.files import FileReader

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.support.pe import build_kernel, build_uki

ROUNDS = 5


def bare(path: Path) -> Callable[[], None]:
    """Return the hashing that no tool can avoid, over bytes in memory."""
    with FileReader(path) as reader:
        uki = read_boot_artifacts(reader).uki
        rules = stub_rules(uki.stub_version)
        assert rules is not None, "the image's stub is not known"
        whole = read_all(uki.reader)
        kernel = read_all(uki.sections[".linux"])
        pieces = [[whole[at : at + size] for at, size in authenticode_ranges(uki.image)]]
        pieces += [[read_all(uki.sections[name])] for name in rules.sections if name in uki.sections]
        if rules.loads_kernel_by_firmware:
            pieces.append(
                [kernel[at : at + size] for at, size in authenticode_ranges(parse_pe(uki.sections[".linux"]))]
            )

    def work() -> None:
        for bank in DEFAULT_BANKS:
            for stream in pieces:
                state = hashlib.new(bank, usedforsecurity=False)
                for piece in stream:
                    state.update(piece)
                state.digest()

    return work


def ours(path: Path, workers: int) -> None:
    """Read the image and predict its PCRs, without a look into it."""
    with FileReader(path) as reader:
        predict_tpm(read_boot_artifacts(reader), [TpmBoot()], workers=workers)


def command(path: Path, workers: int) -> None:
    """Do all that `measure tpm` does: look into initrd, root and kernel, too."""
    with FileReader(path) as reader:
        measure_tpm(reader, workers=workers)


def main() -> None:
    """Measure and print a table and JSON."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder) / "uki.efi"
        if len(sys.argv) == 1:
            source = random.Random(1)
            kernel = build_kernel(body=source.randbytes(11 << 20))
            initrd = stub_archive("usr", [CpioFile(name="data", data=source.randbytes(238 << 20))])
            path.write_bytes(build_uki(initrd=initrd, linux=kernel))
        cpus = os.cpu_count() or 1
        works = {
            "bare": bare(path),
            "ours, 1 thread": partial(ours, path, 1),
            f"ours, {cpus} threads": partial(ours, path, cpus),
            f"measure tpm, {cpus} threads": partial(command, path, cpus),
        }
        times: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(ROUNDS):
            for name, work in works.items():
                start = time.perf_counter()
                work()
                times[name].append(time.perf_counter() - start)
    best = {name: min(runs) * 1000 for name, runs in times.items()}
    for name, value in best.items():
        print(f"{name:24} {value:8.1f} ms  {value / best['bare']:5.2f}x")
    print(json.dumps({name: round(value / best["bare"], 3) for name, value in best.items() if name != "bare"}))


if __name__ == "__main__":
    main()
