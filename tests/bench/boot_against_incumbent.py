"""Boot time and sizes: our production image against a Debian image in the incumbent's shape, in one run.

Both images hold the same guest: our units, the selftest components, and stand-ins of the real agents' size. Ours
also comes without the stand-ins, as its own size is what the recipe decides. The images boot in turns on the same
emulated machine; "up" is the moment when the forwarder's port answers. On a machine with other work look at the CPU
time instead: that of QEMU and swtpm from start to end, which includes a few idle seconds after the port answers.

    python tests/bench/boot_against_incumbent.py [--runs N] [--json FILE] [--cache DIR]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import resource
import statistics
import sys
import tempfile
from pathlib import Path

from podvm_builder.boot.folder import BuildOutput, read_folder
from podvm_builder.boot.machine import Machine
from podvm_builder.boot.run import boot
from podvm_builder.build.image import Options, build_image
from podvm_builder.build.mkosi import Conditions, Inputs, run_mkosi
from podvm_builder.build.outputs import collect
from podvm_builder.build.progress import Steps
from podvm_builder.catalog.load import catalogue
from podvm_builder.guest.components import SELFTEST, selftest, unlocked_components
from podvm_builder.guest.payload import PRESET, UNITS, payload_identity
from podvm_builder.measure.artifacts import read_boot_artifacts
from podvm_builder.measure.tpm import predict_tpm
from podvm_builder.measure.tpm_boot import TpmBoot
from podvm_builder.model.axes import Target
from podvm_builder.model.layout import RAW, UKI
from podvm_builder.model.recipe import RecipeFile, RecipeTree
from podvm_builder.planning.identity import components_digest
from podvm_builder.planning.make import make_plan
from podvm_builder.recipes.mkosi import render
from podvm_builder.tools.cache import open_cache, work_folder
from podvm_builder.tools.files import FileReader
from podvm_builder.tools.mirror import find_mirrors
from podvm_builder.tools.tree import ensure_tree

SHAPE = Path(__file__).parent / "incumbent"
MIB = 1 << 20
PAYLOAD_MIB = 112
TARGET = Target.parse("debian-13/snp/libvirt")


def stand_ins() -> RecipeTree:
    """Return files of the real agents' size, which compress about as programs do: two bytes of three are random."""
    source = random.Random(20260101)
    block = b"".join(source.randbytes(1 << 10) + bytes(1 << 9) for _ in range(1 << 10))
    files: dict[str, RecipeFile] = {}
    for number in range(PAYLOAD_MIB // 14):
        rotated = block[number * 4096 :] + block[: number * 4096]
        files[f"usr/local/lib/stand-ins/{number}.bin"] = RecipeFile(data=(rotated * 10)[: 14 * MIB])
    return files


def build_ours(components: RecipeTree, out: Path, cache: Path) -> BuildOutput:
    """Build our image with these components."""
    plan = make_plan(TARGET, catalogue(), components_digest=components_digest(payload_identity(components)))
    options = Options(out=out, cache=cache, base=Path.cwd())
    guest = unlocked_components(components, source=SELFTEST)
    return read_folder(build_image(plan, guest, options=options, steps=Steps(6, sys.stderr)).folder)


def build_incumbent(components: RecipeTree, like: BuildOutput, out: Path, cache: Path) -> BuildOutput:
    """Build the incumbent's shape with these components; its predictions are of its own disk."""
    plan = make_plan(TARGET, catalogue(), components_digest=components_digest(payload_identity(components)))
    ours = render(plan, components)
    guest = {
        path: file
        for path, file in ours.items()
        # no trimming of units: neither our preset nor our masks, which are empty files
        if path.startswith("mkosi.extra/") and not (path.startswith(f"mkosi.extra/{UNITS}") and not file.data)
    }
    enabled = [line for line in ours[f"mkosi.extra/{PRESET}"].data.splitlines() if line != b"disable *"]
    guest[f"mkosi.extra/{PRESET}"] = RecipeFile(data=b"\n".join([*enabled, b""]))
    shape = {str(file.relative_to(SHAPE)): RecipeFile(data=file.read_bytes()) for file in SHAPE.rglob("*.conf")}
    tree = ensure_tree(cache=cache, progress=say)
    out.mkdir(parents=True)
    with work_folder(cache) as work:
        made = run_mkosi(
            Inputs(
                recipe={**shape, **guest},
                distribution=plan.distro.name,
                release=plan.distro.release,
                repositories=plan.distro.repositories,
                layer="incumbent",
            ),
            tree=tree,
            cache=cache,
            work=work,
            mirrors=find_mirrors(None, suite=plan.distro.release),
            log=out / "mkosi.log",
            conditions=Conditions(),
            progress=say,
        )
        collect(made, out)
    with FileReader(out / RAW) as image:
        (prediction,) = predict_tpm(read_boot_artifacts(image), [TpmBoot()], banks=("sha256",))
    measurements = dataclasses.replace(
        like.measurements, measurements=prediction.measurements, logs={"disk": prediction.log}
    )
    return BuildOutput(image=out / RAW, manifest=like.manifest, measurements=measurements)


def say(line: str) -> None:
    """Talk on stderr."""
    print(f"  {line}", file=sys.stderr)


def main() -> None:
    """Build, boot in turns, print a table, and the figures as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--cache", type=Path)
    args = parser.parse_args()
    cache = open_cache(args.cache)
    with tempfile.TemporaryDirectory(prefix="bench-boot-") as scratch:
        out = Path(scratch)
        full = {**selftest(), **stand_ins()}
        images = {"ours": build_ours(full, out / "ours", cache)}
        images["incumbent"] = build_incumbent(full, images["ours"], out / "incumbent", cache)
        bare = {"ours": build_ours(selftest(), out / "bare", cache)}
        bare["incumbent"] = build_incumbent(selftest(), bare["ours"], out / "bare-incumbent", cache)
        tree = ensure_tree(cache=cache, progress=say)
        seconds: dict[str, list[float]] = {name: [] for name in images}
        cpu: dict[str, list[float]] = {name: [] for name in images}
        phases: dict[str, dict[str, list[float]]] = {name: {} for name in images}
        for turn in range(args.runs):
            for name, output in images.items():
                before = spent()
                result, log = boot(output, tree=tree, cache=cache, machine=Machine(), timeout=600, say=say)
                cpu[name].append(spent() - before)
                if result.seconds is None:
                    sys.exit(f"{name} did not come up: {result.outcome} {result.reason}\n{log[-2000:]}")
                say(f"run {turn + 1}: {name} up after {result.seconds:.1f} s, {cpu[name][-1]:.1f} s of CPU time")
                seconds[name].append(result.seconds)
                for phase in result.phases:
                    phases[name].setdefault(phase.name, []).append(phase.end - phase.start)
        figures = {
            name: {
                "up_seconds": statistics.median(seconds[name]),
                "cpu_seconds": statistics.median(cpu[name]),
                "raw_mb": size(output.image),
                "raw_mb_without_payload": size(bare[name].image),
                "uki_mb": size(output.image.with_name(UKI)),
            }
            for name, output in images.items()
        }
    print(f"{'':24}{'ours':>10}{'incumbent':>12}{'ratio':>8}")
    for key in figures["ours"]:
        ours, theirs = figures["ours"][key], figures["incumbent"][key]
        print(f"{key:24}{ours:10.1f}{theirs:12.1f}{ours / theirs:8.2f}")
    for name, found in phases.items():
        print(f"{name}: " + ", ".join(f"{phase} {statistics.median(took):.1f} s" for phase, took in found.items()))
    if args.json:
        args.json.write_text(json.dumps({"runs": seconds, "cpu": cpu, "phases": phases, **figures}, indent=2) + "\n")


def spent() -> float:
    """Return the CPU seconds of all programs that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def size(path: Path) -> float:
    """Return a file's length in millions of bytes."""
    return path.stat().st_size / 1e6


if __name__ == "__main__":
    main()
