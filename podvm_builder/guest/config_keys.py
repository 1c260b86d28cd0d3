"""The keys of the agents' configuration files, and whether a document keeps to them.

Sources: guest-components 0.21 (attestation-agent, confidential-data-hub, image-rs). The agents pass over what they do
not know, so that a key with a letter too many is without effect there; here it is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

TEXT, FLAG, NUMBER, TEXTS = "text", "true or false", "a whole number", "a list of texts"

Spec = str | Mapping[str, Any] | list[Any]
"""A kind of value, a table by key, or, as a list of one, an array of tables."""

AA: Mapping[str, Spec] = {
    "token_configs": {
        "coco_as": {"url": TEXT},
        "kbs": {"url": TEXT, "cert": TEXT, "tee_key_algorithm": TEXT},
    },
    "eventlog_config": {"init_pcr": NUMBER, "enable_eventlog": FLAG},
    "log": {"level": TEXT},
}
REGISTRIES: Mapping[str, Spec] = {
    "unqualified-search-registries": TEXTS,
    "registry": [
        {
            "prefix": TEXT,
            "location": TEXT,
            "insecure": FLAG,
            "blocked": FLAG,
            "mirror": [{"location": TEXT, "insecure": FLAG}],
        }
    ],
}
CDH: Mapping[str, Spec] = {
    "socket": TEXT,
    "aa": {"aa_socket": TEXT},
    "kbc": {"name": TEXT, "url": TEXT, "kbs_cert": TEXT},
    "credentials": [{"path": TEXT, "resource_uri": TEXT}],
    "image": {
        "work_dir": TEXT,
        "max_concurrent_layer_downloads_per_image": NUMBER,
        "sigstore_config_uri": TEXT,
        "sigstore_config": TEXT,
        "image_security_policy_uri": TEXT,
        "image_security_policy": TEXT,
        "authenticated_registry_credentials_uri": TEXT,
        "anonymous_fallback_on_unauthorized": FLAG,
        "registry_configuration_uri": TEXT,
        "registry_config": REGISTRIES,
        "extra_root_certificates": TEXTS,
        "image_pull_proxy": {"https_proxy": TEXT, "http_proxy": TEXT, "no_proxy": TEXT},
    },
    "skip_sealed_secret_verification": FLAG,
    "log": {"level": TEXT},
}

CREDENTIALS = "/run/confidential-containers/cdh/kbs/"
"""Where the confidential data hub may put credentials."""
KBCS = ("cc_kbc", "offline_fs_kbc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """What is wrong with a value of a document."""

    key: str
    """The last key on the way to it."""
    message: str
    hint: str | None = None


def mistakes(document: Mapping[str, Any], spec: Mapping[str, Spec], path: str = "") -> Iterator[Mistake]:
    """Find keys that an agent does not know, and values that are not of their kind."""
    for key, value in document.items():
        name = f"{path}{key}"
        if key not in spec:
            near = get_close_matches(key, list(spec), n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"known: {', '.join(spec)}"
            yield Mistake(key=key, message=f"unknown key `{name}`", hint=hint)
        else:
            yield from _value(key, name, value, spec[key])


def cdh_mistakes(document: Mapping[str, Any]) -> Iterator[Mistake]:
    """Find what is wrong with a configuration of the confidential data hub."""
    yield from mistakes(document, CDH)
    kbc = document.get("kbc")
    name = kbc.get("name") if isinstance(kbc, dict) else None
    if name not in KBCS:
        yield Mistake(key="kbc", message="`kbc.name` is missing or unknown", hint=f"it is {' or '.join(KBCS)}")
    credentials = document.get("credentials")
    for row in credentials if isinstance(credentials, list) else ():
        path = row.get("path") if isinstance(row, dict) else None
        if not isinstance(path, str) or not path.startswith(CREDENTIALS) or ".." in path.split("/"):
            yield Mistake(key="credentials", message=f"a path of `credentials` is not below {CREDENTIALS}")


def _value(key: str, name: str, value: Any, spec: Spec) -> Iterator[Mistake]:
    if isinstance(spec, str):
        if not _is(value, spec):
            yield Mistake(key=key, message=f"`{name}` must be {spec}")
    elif isinstance(spec, list):
        if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
            yield Mistake(key=key, message=f"`{name}` must be an array of tables: `[[{name}]]`")
        else:
            for row in value:
                yield from mistakes(row, spec[0], f"{name}.")
    elif isinstance(value, dict):
        yield from mistakes(value, spec, f"{name}.")
    else:
        yield Mistake(key=key, message=f"`{name}` must be a table")


def _is(value: Any, kind: str) -> bool:
    if kind == TEXTS:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if kind == NUMBER:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, bool if kind == FLAG else str)
