"""The software bill of materials of an image: CycloneDX 1.6 JSON (ECMA-424) of its packages and guest components."""

from __future__ import annotations

from typing import Any

from podvm_builder.model.layout import RAW
from podvm_builder.model.manifest import ImageManifest, PackageRecord

_NO_LICENCE = "NOASSERTION"


def sbom(manifest: ImageManifest, *, distribution: str) -> dict[str, Any]:
    """Return the bill of materials. The same manifest gives the same document: it has no serial number and no time.

    Args:
        manifest: the image's.
        distribution: the packages' namespace in their package URLs, e.g. ``debian``.
    """
    packages = [
        {"type": "library", "bom-ref": url, "name": package.name, "version": package.version, "purl": url}
        for package in manifest.packages
        for url in [_url(package, distribution)]
    ]
    components = [
        {
            "type": "application",
            "bom-ref": f"file:{component.path}",
            "name": component.name,
            "hashes": [{"alg": "SHA-256", "content": component.sha256}],
            # nobody said anything about it: then the document does not either
            **({} if component.licence == _NO_LICENCE else {"licenses": [{"expression": component.licence}]}),
            "properties": [
                {"name": f"podvm-build:{name}", "value": value}
                for name, value in (
                    ("path", component.path),
                    ("source", component.source),
                    ("digest", component.digest),
                    ("verification", component.verification),
                    ("note", component.note),
                )
                if value
            ],
        }
        for component in manifest.components
    ]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "operating-system",
                "bom-ref": f"image:{manifest.ids.image}",
                "name": manifest.target,
                "version": manifest.ids.image,
                "hashes": [{"alg": "SHA-256", "content": manifest.files[RAW].sha256}],
            }
        },
        "components": [*packages, *components],
    }


def _url(package: PackageRecord, distribution: str) -> str:
    """Return a package URL (purl specification, type ``deb``); of Debian's characters `+` and `:` must be escaped."""
    name, version = (text.replace("+", "%2B").replace(":", "%3A") for text in (package.name, package.version))
    return f"pkg:deb/{distribution}/{name}@{version}?arch={package.arch}"
