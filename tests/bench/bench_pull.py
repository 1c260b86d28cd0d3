"""Pulling 300 MB from a registry on this machine, beside skopeo doing the same, and pulling it again.

    python tests/bench/bench_pull.py

Both are whole processes that take turns; every number is the best of its runs. Ours checks every digest, keeps the
blobs in a store, and is asked a second time with a proxy before the registry that counts requests. It prints ratios,
and fails nothing; without a tools tree or a package archive it says so.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from podvm_builder.model.oci import Descriptor, Reference
from podvm_builder.tools.oci import BlobStore, DockerConfig, RegistryClient
from tests.support import debian
from tests.support.registry import Proxy, push_artifact, real_registry, to

ROUNDS = 5
LAYERS_MB = (110, 70, 50, 40, 20, 10)
PULL = """
import sys
from pathlib import Path
from podvm_builder.formats.oci import parse_manifest
from podvm_builder.model.oci import Reference
from podvm_builder.tools.oci import BlobStore, DockerConfig, RegistryClient
reference = Reference.parse(sys.argv[1])
with RegistryClient(store=BlobStore(Path(sys.argv[2])), config=DockerConfig.load()) as client:
    found = client.resolve(reference)
    document = parse_manifest(client.manifest(reference, found.digest))
    client.fetch_all(reference, [document.config, *document.layers])
"""


def push(reference: Reference, folder: Path) -> list[Descriptor]:
    """Push an artifact of layers that do not compress."""
    source = random.Random(1)
    layers = [source.randbytes(size * 1_000_000) for size in LAYERS_MB]
    with RegistryClient(store=BlobStore(folder / "unused"), config=DockerConfig()) as client:
        return push_artifact(client, reference, layers, folder)


def ours(reference: Reference, store: Path) -> None:
    """Pull into a store."""
    subprocess.run([sys.executable, "-c", PULL, str(reference), str(store)], check=True)


def seconds(work: Callable[[], object]) -> float:
    """Return the wall time of one run."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Measure and print a table and JSON."""
    try:
        skopeo = debian.command("/usr/bin/skopeo", ("skopeo", "libgpgme11t64"))
        debian.command("/usr/bin/docker-registry", ("docker-registry",))
    except pytest.skip.Exception as reason:
        print(f"not measured: {reason}")
        return
    with tempfile.TemporaryDirectory(prefix="bench-pull-") as scratch, real_registry(Path(scratch)) as host:
        folder = Path(scratch)
        reference = Reference.parse(f"{host}/bench/agents:v1")
        manifest, *layers = push(reference, folder)
        copy = [*skopeo, "copy", "--quiet", "--insecure-policy", "--src-tls-verify=false", f"docker://{reference}"]
        times: dict[str, list[float]] = {"skopeo copy": [], "ours": [], "ours, again": []}
        for _ in range(ROUNDS):
            for name in ("theirs", "ours"):
                shutil.rmtree(folder / name, ignore_errors=True)
            times["skopeo copy"].append(
                seconds(lambda: subprocess.run([*copy, f"dir:{folder / 'theirs'}"], check=True))
            )
            times["ours"].append(seconds(lambda: ours(reference, folder / "ours")))
            times["ours, again"].append(seconds(lambda: ours(reference.pinned(manifest.digest), folder / "ours")))
        with Proxy(to(host)) as proxy:
            again = Reference.parse(f"{proxy.host}/bench/agents@{manifest.digest}")
            ours(again, folder / "ours")
            requests = len(proxy.requests)
    best = {name: min(runs) for name, runs in times.items()}
    size = sum(layer.size for layer in layers) / 1e6
    print(f"{size:.0f} MB in {len(layers)} layers, best of {ROUNDS}")
    for name, value in best.items():
        print(f"{name:14}{value * 1000:9.0f} ms{size / value:9.0f} MB/s{value / best['skopeo copy']:8.2f}x")
    print(f"requests when all is at hand: {requests}")
    print(
        json.dumps(
            {
                "bench": "pull",
                "unit": "s",
                "rounds": ROUNDS,
                "best": {name: round(value, 3) for name, value in best.items()},
                "ratio": round(best["ours"] / best["skopeo copy"], 3),
                "requests_again": requests,
            }
        )
    )


if __name__ == "__main__":
    main()
