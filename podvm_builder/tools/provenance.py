"""Sigstore bundles and GitHub attestations, verified offline against a given trusted root.

What the library checks: the certificate chains to the root and was valid when the log or a timestamp authority saw the
signature, its issuance is in a certificate transparency log, the log entry's inclusion proof and checkpoint, and that
entry and signature fit (Sigstore client specification). What is checked here: that the signature is of *this* content,
as the statement's subject or as the signed message, that the statement is provenance, and that the certificate names
the signer that the policy wants.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from podvm_builder.errors import Finding, FormatError, Lacking
from podvm_builder.model.components import Policy
from podvm_builder.report.text import printable

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from sigstore.models import Bundle, TrustedRoot

MAX_BUNDLE = 16 << 20
"""Bytes; GitHub takes predicates up to that."""

PREDICATES = ("https://slsa.dev/provenance/v1", "https://slsa.dev/provenance/v0.2")
_STATEMENTS = ("https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1")
_IN_TOTO = "application/vnd.in-toto+json"
_PRODUCTION = "https://tuf-repo-cdn.sigstore.dev"

# Fulcio's certificate extensions, "Sigstore OID information"
_ARC = "1.3.6.1.4.1.57264.1."
_CLAIMS = {"issuer": "8", "runner": "11", "repository": "12", "commit": "13", "ref": "14", "workflow": "18"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Who signed, as the certificate says it."""

    identity: str
    """The subject's URI or mail address."""
    claims: Mapping[str, str]
    """``issuer``, ``runner``, ``repository``, ``commit``, ``ref``, ``workflow``, as far as the certificate has them."""


def verify_bundle(bundle: bytes, *, trusted_root: bytes, sha256: str, policy: Policy) -> Signer:
    """See that a bundle is valid provenance of some content by the signer that a policy wants; nothing is fetched.

    Args:
        bundle: a Sigstore bundle of version 0.1 to 0.3, JSON.
        trusted_root: a Sigstore trusted root, JSON.
        sha256: the content's, hex.
        policy: the signer.

    Raises:
        Lacking: PVB752, the library is not installed.
        FormatError: PVB751, the bundle is none; PVB753, the trusted root is none.
        Finding: PVB750, it is not valid, is about something else, or somebody else's.
    """
    _require()
    from sigstore import errors
    from sigstore.verify import Verifier

    root, parsed = _root(trusted_root), _bundle(bundle)
    wanted = _Wanted(policy)
    try:
        verifier = Verifier(trusted_root=root)
        if "dsseEnvelope" in json.loads(bundle):
            kind, payload = verifier.verify_dsse(parsed, wanted)
            _check_statement(kind, payload, sha256, policy)
        elif policy.predicate is not None:
            raise _failed(f"it signs bare content, wanted is a statement of type `{policy.predicate}`")
        else:
            _verify_message(verifier, parsed, sha256, wanted)
    except errors.Error as error:
        raise _failed(str(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        # what the library does not expect of a bundle or root is no bundle or root to trust
        raise _failed(f"it cannot be checked: {error}") from error
    return _signer(parsed.signing_certificate)


def embedded_root() -> bytes:
    """Return the trusted root of Sigstore's public instance that the installed library brings.

    Raises:
        Lacking: PVB752, it is not installed.
    """
    _require()
    from importlib.resources import files
    from urllib.parse import quote

    try:
        return (files("sigstore._store") / quote(_PRODUCTION, safe="") / "trusted_root.json").read_bytes()
    except (ImportError, OSError) as error:
        raise Lacking(
            f"the installed sigstore library brings no trusted root: {error}",
            code="PVB752",
            hint="name a file with `trusted_root` in the set",
        ) from None


def _require() -> None:
    from importlib.util import find_spec

    if find_spec("sigstore") is None:
        raise Lacking(
            "provenance cannot be verified: the sigstore library is not installed",
            code="PVB752",
            hint='install "podvm-build[sign]"',
        )


def _root(data: bytes) -> TrustedRoot:
    from sigstore.errors import Error
    from sigstore.models import TrustedRoot

    try:
        # the library reads one from a path alone
        with tempfile.NamedTemporaryFile(prefix="trusted-root-") as file:
            file.write(data)
            file.flush()
            return TrustedRoot.from_file(file.name)
    except (Error, ValueError) as error:
        raise FormatError(f"the trusted root is none: {_first_line(error)}", code="PVB753") from error


def _bundle(data: bytes) -> Bundle:
    from sigstore.errors import Error
    from sigstore.models import Bundle

    if len(data) > MAX_BUNDLE:
        raise FormatError(f"the bundle is larger than {MAX_BUNDLE} bytes", code="PVB751")
    try:
        return Bundle.from_json(data)
    except (Error, ValueError) as error:
        raise FormatError(f"no Sigstore bundle: {_first_line(error)}", code="PVB751") from error


def _verify_message(verifier: Any, bundle: Bundle, sha256: str, wanted: _Wanted) -> None:
    from sigstore.hashes import Hashed
    from sigstore_models.common.v1 import HashAlgorithm

    digest = Hashed(algorithm=HashAlgorithm.SHA2_256, digest=bytes.fromhex(sha256))
    verifier.verify_artifact(digest, bundle, wanted)


def _check_statement(kind: str, payload: bytes, sha256: str, policy: Policy) -> None:
    """See that a signed statement is provenance of some content (in-toto Attestation Framework, Statement v1)."""
    if kind != _IN_TOTO:
        raise _failed(f"what is signed is `{printable(kind)}`, not `{_IN_TOTO}`")
    try:
        statement = json.loads(payload)
        subjects = [subject["digest"] for subject in statement["subject"]]
        predicate, version = statement["predicateType"], statement["_type"]
        digests = [digest.get("sha256") for digest in subjects]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _failed("what is signed is no in-toto statement") from error
    if version not in _STATEMENTS:
        raise _failed(f"the statement is of type `{printable(str(version))}`")
    accepted = PREDICATES if policy.predicate is None else (policy.predicate,)
    if predicate not in accepted:
        raise _failed(f"the statement is a `{printable(str(predicate))}`, wanted is `{'` or `'.join(accepted)}`")
    if sha256 not in digests:
        shown = ", ".join(printable(str(digest)) for digest in digests[:3]) or "nothing"
        raise _failed(f"it is about other content: {shown}, not {sha256}")


class _Wanted:
    """A policy as the library calls it, with all that differs in one message."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def verify(self, cert: Certificate) -> None:
        """Compare the certificate's claims with the policy.

        Raises:
            Finding: PVB750.
        """
        policy, said = self._policy, _claims(cert)
        repository = f"{policy.server}/{policy.repository}"
        wanted = {"issuer": policy.issuer, "repository": repository, "commit": policy.commit, "ref": policy.ref}
        wanted["runner"] = policy.runner
        if policy.workflow is not None:
            # the ref that follows is that of the workflow's own file, which `ref` says of what it ran for
            said["workflow"] = said.get("workflow", "").rpartition("@")[0]
            wanted["workflow"] = f"{repository}/{policy.workflow}"
        wrong = [
            f"{name} is `{printable(said.get(name) or 'not said')}`, wanted is `{value}`"
            for name, value in wanted.items()
            if value is not None and said.get(name) != value
        ]
        if wrong:
            raise _failed(f"it was signed by somebody else: {'; '.join(wrong)}")


def _claims(cert: Certificate) -> dict[str, str]:
    from cryptography.hazmat import asn1
    from cryptography.x509 import ExtensionNotFound, ObjectIdentifier, UnrecognizedExtension

    found: dict[str, str] = {}
    for name, last in _CLAIMS.items():
        try:
            value = cert.extensions.get_extension_for_oid(ObjectIdentifier(_ARC + last)).value
        except ExtensionNotFound:
            continue
        assert isinstance(value, UnrecognizedExtension)  # noqa: S101 - the library knows no extension of this arc
        found[name] = asn1.decode_der(str, value.value)
    return found


def _signer(cert: Certificate) -> Signer:
    from cryptography.x509 import ExtensionNotFound, SubjectAlternativeName

    try:
        names = cert.extensions.get_extension_for_class(SubjectAlternativeName).value
        identity = ", ".join(str(name.value) for name in names)
    except ExtensionNotFound:
        identity = ""
    return Signer(identity=printable(identity), claims={name: printable(text) for name, text in _claims(cert).items()})


def _failed(why: str) -> Finding:
    return Finding(
        f"provenance is not verified: {why}",
        code="PVB750",
        hint="do not use the component; if the policy is wrong, change `verify` in the set and lock again",
    )


def _first_line(error: Exception) -> str:
    return printable((str(error) or type(error).__name__).strip().splitlines()[0])
