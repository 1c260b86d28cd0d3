"""What an export format is, and what it is given.

To add a format: write a module below ``refvalues`` with a function that encodes an :class:`ExportRequest`, a reader
of what it wrote, and a tuple ``FORMATS`` of :class:`Format`; name that tuple in :mod:`podvm_builder.refvalues.formats`.
The command line, ``show``, the tests of round trips and the documentation's table take it from there. Heavy libraries
are imported inside the functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from podvm_builder.errors import FormatError, InputError
from podvm_builder.model.fact import Facts
from podvm_builder.model.measurement import MeasurementSet
from podvm_builder.model.refvalue import ReferenceValues
from podvm_builder.refvalues.keys import VerifyingKey
from podvm_builder.refvalues.policies import policy_for
from podvm_builder.refvalues.rules import Policy
from podvm_builder.refvalues.values import reference_values
from podvm_builder.refvalues.versions import FIRST, LAST, NEWEST, Version, parse_version, show

TIME = "%Y-%m-%dT%H:%M:%SZ"
"""How Trustee writes and reads a time: UTC, no fraction."""
MAX_DOCUMENT = 8 << 20
"""Bytes. A Kubernetes object holds 1 MiB at most; a flat map of 2,048 launch digests is 0.2 MB."""

# RFC 1123 subdomain, as Kubernetes wants the name of a ConfigMap and (without dots) of a namespace
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")
_NAMESPACE = re.compile(_LABEL)
# the characters that every storage of Trustee takes in a key
_URI_PATH = re.compile(r"(?!.*\.\.)[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_URI_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}|")
_PRODUCT = re.compile(r"[A-Za-z0-9-]{0,64}")
_PERSONALIZATION = re.compile(r"(?:[0-9a-f]{128})?")

OF_POLICY = frozenset({"trustee", "policy", "evidence", "facts"})
"""Options of a form whose values are those that a policy of Trustee asks for."""

FlatMap = dict[str, Any]
"""Name to JSON value: what a reader gives."""
Files = Mapping[str, bytes]
"""Relative path to content, of a format that is a folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What an exported document says besides the values.

    Raises:
        InputError: a name or the time is not of the form that its reader takes (PVB605).
    """

    expiration: str = "2099-12-31T23:59:59Z"
    """When the stored records expire, UTC. Every record must say it and no Trustee from 0.16 on acts on it, so the
    default is far away and the same for everyone: a value is retired by removing it."""
    name: str = "rvps-reference-values"
    """The ConfigMap's name, which ``kbsRvpsRefValuesConfigMapName`` of the ``KbsConfig`` refers to."""
    namespace: str = "trustee-operator-system"
    """The ConfigMap's namespace, that of the operator."""
    use_rvps: bool = False
    """Whether a Rego policy asks the RVPS for its values instead of holding them."""
    uri_path: str = "podvm"
    """Namespaces of ``rvps:///`` names, joined by slashes: whose values these are."""
    uri_tag: str = ""
    """Tag of ``rvps:///`` names; without one it is the image's identity."""
    boot: str = ""
    """The one boot path whose values are exported, where a form is not about a policy of Trustee; empty for all."""
    key: bytes | None = field(default=None, repr=False)
    """Private key that signs, PEM."""
    author_key: bytes | None = field(default=None, repr=False)
    """Private key that signs the ID key of an SNP ID block, PEM."""
    product: str = ""
    """Product name of the machines' AMD processors, e.g. ``Milan``."""
    personalization: str = ""
    """Personalization value of a CCA realm, hex of 64 bytes; empty for zeros."""

    def __post_init__(self) -> None:
        """Refuse what Trustee or Kubernetes would refuse later."""
        try:
            exact = datetime.strptime(self.expiration, TIME).strftime(TIME) == self.expiration
        except ValueError:
            exact = False
        if not exact:
            raise InputError(
                f"`{self.expiration}` is not a time as Trustee reads it",
                code="PVB605",
                hint="e.g. 2027-12-31T23:59:59Z",
            )
        for value, pattern, what, hint in (
            (self.name, _SUBDOMAIN, "name of a ConfigMap", "lower-case letters, digits and hyphens"),
            (self.namespace, _NAMESPACE, "Kubernetes namespace", "lower-case letters, digits and hyphens"),
            (self.uri_path, _URI_PATH, "path of an rvps:/// name", "e.g. example.com/podvm"),
            (self.uri_tag, _URI_TAG, "tag of an rvps:/// name", "letters, digits, `.`, `_` and `-`"),
            (self.product, _PRODUCT, "product name of a processor", "e.g. Milan, Genoa, Turin"),
            (self.personalization, _PERSONALIZATION, "personalization value", "128 lower-case hexadecimal digits"),
        ):
            if pattern.fullmatch(value) is None:
                raise InputError(f"`{value}` is not a {what}", code="PVB605", hint=hint)


DEFAULTS = ExportOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """What is to be exported, and for whom."""

    measurements: MeasurementSet
    trustee: str = NEWEST
    policy: str = "default"
    """One of :data:`podvm_builder.refvalues.policies.POLICIES`: which policy reads the values."""
    evidence: str | None = None
    facts: Facts = field(default_factory=dict)
    """Facts over those that the measurements carry."""
    allow: frozenset[str] = frozenset()
    """What is let pass: words of :data:`podvm_builder.refvalues.admission.ALLOWANCES`."""
    options: ExportOptions = DEFAULTS

    @property
    def version(self) -> Version:
        """Return Trustee's version.

        Raises:
            InputError: it is not known (PVB603).
        """
        return parse_version(self.trustee)

    def rules(self, policy: str | None = None) -> Policy:
        """Return the policy that reads the values; see :func:`.policies.policy_for`.

        Args:
            policy: another policy than the request's.
        """
        evidence = self.measurements.evidence if self.evidence is None else self.evidence
        return policy_for(
            evidence,
            trustee=self.trustee,
            policy=policy or self.policy,
            measurements=self.measurements,
            facts=self.facts,
        )

    def values(self, policy: str | None = None) -> ReferenceValues:
        """Return the reference values that Trustee's policy asks for; see :func:`.values.reference_values`.

        Args:
            policy: another policy than the request's.
        """
        return reference_values(
            self.measurements,
            trustee=self.trustee,
            policy=policy or self.policy,
            evidence=self.evidence,
            facts=self.facts,
            allow_unbound="unbound-image" in self.allow,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One form of reference values."""

    name: str
    """As ``--to`` takes it."""
    title: str
    """What it is and whom it is for, half a sentence."""
    file: str
    """Name in an output folder; of a folder's format, that of the folder."""
    media: str
    """Media type, for a registry or an HTTP body."""
    encode: Callable[[ExportRequest], bytes | Files]
    decode: Callable[[bytes], FlatMap] | None = None
    """Reads what was written, as strictly as the consumer does; raises FormatError (PVB607)."""
    decode_files: Callable[[Files], FlatMap] | None = None
    """The same for a format that is a folder."""
    recognise: Callable[[bytes, object], bool] = lambda data, parsed: False
    """Whether bytes look like this form, so that ``decode`` says what is wrong with them. The second argument is what
    JSON the bytes are, None where they are none."""
    since: Version = FIRST
    until: Version = LAST
    why_not: str = ""
    """Why it is not offered for other versions."""
    in_build: bool = False
    """Whether a build writes it into ``reference-values/``."""
    heeds: frozenset[str] = OF_POLICY
    """Options that change what is written, as parameters of the command line are named; others are refused there."""
    check: Callable[[bytes, VerifyingKey], bool] | None = None
    """Says whether a document has a signature of a key, of a form that can be signed."""

    @property
    def asks_policy(self) -> bool:
        """Whether its values are those that a policy of Trustee asks for, under that policy's names."""
        return "policy" in self.heeds

    def for_version(self, version: Version) -> None:
        """Refuse a version of Trustee that does not read this form.

        Raises:
            InputError: PVB603.
        """
        if not self.since <= version <= self.until:
            raise InputError(f"Trustee {show(version)} does not read `{self.name}`: {self.why_not}", code="PVB603")


def wrong(message: str) -> FormatError:
    """Return the error about a file of reference values that cannot be read."""
    return FormatError(message, code="PVB607")
