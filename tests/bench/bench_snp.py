"""SNP digests and MRTD beside sev-snp-measure and beside the bare hashing, in one run.

    python tests/bench/bench_snp.py [FIRMWARE]

Without a firmware, a generated image of 4 MiB is used whose pages repeat as OVMF.amdsev.fd's do. Every number is
the median of runs that take turns, so that a busy moment falls on all of them; it prints ratios, and fails nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sevsnpmeasure import guest
from sevsnpmeasure.sev_mode import SevMode

from podvm_builder.formats.ovmf import PAGE
from podvm_builder.measure.inputs import Cpu
from podvm_builder.measure.snp import launch_digest, launch_digests
from podvm_builder.measure.snp_launch import SnpLaunch, firmware_digest
from podvm_builder.measure.tdx import mrtd, read_sections
from podvm_builder.measure.vmm import VMMS

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.support.firmware import Firmware

ROUNDS = 21
CPUS = tuple(map(Cpu.parse, ("EPYC-v4", "EPYC-Milan", "EPYC-Genoa", "EPYC-Turin")))


def medians(works: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return milliseconds by name."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()  # the first run compiles and fills the page cache
    for _ in range(ROUNDS):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            times[name].append((time.perf_counter() - start) * 1000)
    return {name: statistics.median(runs) for name, runs in times.items()}


def bare_snp(image: bytes, vcpus: int) -> Callable[[], None]:
    """Return the SHA-384 work that is left when equal pages are hashed once: pages, and one step a page."""
    unique = {image[i : i + PAGE] for i in range(0, len(image), PAGE)}
    sections = sum(region.length for region in SnpLaunch(image).regions(VMMS[0], cpu=CPUS[0])[1:-1])
    steps = (len(image) + sections) // PAGE + vcpus
    step = bytes(0x70)

    def work() -> None:
        for page in unique:
            hashlib.sha384(page).digest()
        for _ in range(steps):
            hashlib.sha384(step).digest()

    return work


def bare_mrtd(image: bytes) -> Callable[[], object]:
    """Return one SHA-384 over as many bytes as MRTD hashes."""
    pages = [(section.size // PAGE, section.extended) for section in read_sections(image)]
    stream = bytes(sum(count * (128 + (PAGE // 256) * 384 * extended) for count, extended in pages))
    return lambda: hashlib.sha384(stream).digest()


def sweep(image: bytes) -> None:
    """Compute 2,048 digests."""
    launch = SnpLaunch(image)
    for cpu in CPUS:
        for features in (0x1, 0x21):
            launch.digests(VMMS[0], cpu=cpu, guest_features=features, vcpus=range(1, 257))


def process(cache: str, *arguments: str) -> Callable[[], object]:
    """Return the running of a command whose compiled modules are kept in a folder, as pip keeps an installed one's."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = cache
    return lambda: subprocess.run(arguments, stdout=subprocess.DEVNULL, check=True, env=environment)


def main(path: Path, cache: str) -> None:
    """Measure, and print the ratios as a table and as JSON."""
    image, cpu, scripts = path.read_bytes(), CPUS[0], Path(sys.executable).parent
    seed = firmware_digest(image)
    signature, name = cpu.signature, str(path)
    ours = (str(scripts / "podvm-build"), "measure", "snp", "--firmware", name, "--format", "json")
    models = [word for model in CPUS[:3] for word in ("--cpu", model.name)]
    found = medians(
        {
            "theirs": lambda: guest.calc_launch_digest(SevMode.SEV_SNP, 8, signature, name, "", "", "", 1),
            "bare snp": bare_snp(image, 8),
            "digest": lambda: launch_digest(path.read_bytes(), cpu=cpu, vcpus=8),
            "seeded": lambda: launch_digest(image, cpu=cpu, vcpus=8, firmware_seed=seed),
            "sweep": lambda: sweep(image),
            "document": lambda: launch_digests(image, vmms=VMMS[:1], cpus=(cpu,), vcpus=(8,)),
            "bare mrtd": bare_mrtd(image),
            "mrtd": lambda: mrtd(image),
            "their command": process(
                cache,
                str(scripts / "sev-snp-measure"),
                "--mode",
                "snp",
                "--vcpus",
                "8",
                "--vcpu-type",
                cpu.name,
                "--ovmf",
                name,
            ),
            "command": process(cache, *ours, "--vcpus", "8"),
            "command, 192": process(cache, *ours, "--vcpus", "1-64", *models),
        }
    )
    ratios = {
        "one digest / sev-snp-measure's library": ("digest", "theirs"),
        "one digest / bare hashing": ("digest", "bare snp"),
        "with a firmware seed / sev-snp-measure's library": ("seeded", "theirs"),
        "2,048 digests / one digest": ("sweep", "digest"),
        "MRTD / bare hashing": ("mrtd", "bare mrtd"),
        "command / sev-snp-measure's command": ("command", "their command"),
        "command, 192 digests / sev-snp-measure's command": ("command, 192", "their command"),
    }
    print(f"{'work':<52}{'ms':>9}{'of ms':>9}{'ratio':>8}")
    for title, (one, other) in ratios.items():
        print(f"{title:<52}{found[one]:>9.2f}{found[other]:>9.2f}{found[one] / found[other]:>8.2f}")
    print(json.dumps({"bench": "snp", "unit": "ms", "rounds": ROUNDS, "median": found}))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        firmware = Path(folder) / "OVMF.fd"
        if len(sys.argv) > 1:
            firmware = Path(sys.argv[1])
        else:
            firmware.write_bytes(Firmware().build())
        main(firmware, str(Path(folder) / "pyc"))
