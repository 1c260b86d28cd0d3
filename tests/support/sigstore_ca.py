"""A Sigstore instance of our own, for tests: a certificate authority, a certificate log and a transparency log.

It makes what the public instance makes for a GitHub workflow, so that the whole chain is verified with no network and
no key of anybody else's. Formats: RFC 6962 (SCT, Merkle tree), Rekor 1 (entries, checkpoints), Fulcio's extensions.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ISSUER = "https://token.actions.githubusercontent.com"
SLSA = "https://slsa.dev/provenance/v1"
IN_TOTO = "application/vnd.in-toto+json"
_SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_ORIGIN = "log.example"


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _sign(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _utf8(text: str) -> bytes:
    data = text.encode()
    length = bytes([len(data)]) if len(data) < 128 else bytes([0x81, len(data)])
    return b"\x0c" + length + data


@dataclass(frozen=True, kw_only=True)
class Workflow:
    """Who signs."""

    repository: str = "acme/agents"
    workflow: str = ".github/workflows/release.yaml"
    ref: str = "refs/heads/main"
    commit: str = "1" * 40
    issuer: str = ISSUER
    runner: str = "github-hosted"

    @property
    def uri(self) -> str:
        return f"https://github.com/{self.repository}/{self.workflow}@{self.ref}"

    @property
    def claims(self) -> dict[str, str]:
        return {
            "8": self.issuer,
            "9": self.uri,
            "11": self.runner,
            "12": f"https://github.com/{self.repository}",
            "13": self.commit,
            "14": self.ref,
            "18": self.uri,
        }


@dataclass(frozen=True)
class OwnSigstore:
    """The instance; each has keys of its own."""

    root_key: ec.EllipticCurvePrivateKey = field(default_factory=_key)
    ct_key: ec.EllipticCurvePrivateKey = field(default_factory=_key)
    log_key: ec.EllipticCurvePrivateKey = field(default_factory=_key)

    @property
    def _name(self) -> x509.Name:
        return x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "example"), x509.NameAttribute(NameOID.COMMON_NAME, "own")]
        )

    @property
    def root(self) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(self._name)
            .issuer_name(self._name)
            .public_key(self.root_key.public_key())
            .serial_number(1)
            .not_valid_before(NOW - timedelta(days=100))
            .not_valid_after(NOW + timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
            .add_extension(_usage(digital_signature=False, key_cert_sign=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.root_key.public_key()), critical=False)
            .sign(self.root_key, hashes.SHA256())
        )

    def trusted_root(self) -> bytes:
        """Return the instance's trusted root."""

        def log(key: ec.EllipticCurvePrivateKey, url: str) -> dict[str, Any]:
            return {
                "baseUrl": url,
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": _b64(_spki(key)),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": {"start": "2025-01-01T00:00:00Z"},
                },
                "logId": {"keyId": _b64(hashlib.sha256(_spki(key)).digest())},
            }

        document = {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(self.log_key, "https://log.example")],
            "certificateAuthorities": [
                {
                    "subject": {"organization": "example", "commonName": "own"},
                    "uri": "https://ca.example",
                    "certChain": {"certificates": [{"rawBytes": _b64(self.root.public_bytes(Encoding.DER))}]},
                    "validFor": {"start": "2025-01-01T00:00:00Z"},
                }
            ],
            "ctlogs": [log(self.ct_key, "https://ct.example")],
            "timestampAuthorities": [],
        }
        return json.dumps(document).encode()

    def attest(
        self,
        *digests: str,
        workflow: Workflow | None = None,
        predicate: str = SLSA,
        payload_type: str = IN_TOTO,
        statement: dict[str, Any] | None = None,
        version: str = "v0.3",
    ) -> bytes:
        """Return a bundle with signed provenance of some SHA-256 digests, hex."""
        document = statement or {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": "thing", "digest": {"sha256": digest}} for digest in digests],
            "predicateType": predicate,
            "predicate": {},
        }
        payload = json.dumps(document).encode()
        key = _key()
        cert = self._certificate(key, workflow or Workflow())
        kind = payload_type.encode()
        signature = _sign(key, b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload))
        envelope = {
            "payload": _b64(payload),
            "payloadType": payload_type,
            "signatures": [{"sig": _b64(signature)}],
        }
        spec = {
            "envelopeHash": {"algorithm": "sha256", "value": hashlib.sha256(json.dumps(envelope).encode()).hexdigest()},
            "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
            "signatures": [{"signature": _b64(signature), "verifier": _b64(cert.public_bytes(Encoding.PEM))}],
        }
        return self._bundle(cert, "dsse", spec, {"dsseEnvelope": envelope}, version)

    def sign(self, data: bytes, *, workflow: Workflow | None = None, version: str = "v0.3") -> bytes:
        """Return a bundle with a signature of a message."""
        key = _key()
        cert = self._certificate(key, workflow or Workflow())
        digest, signature = hashlib.sha256(data), _sign(key, data)
        spec = {
            "data": {"hash": {"algorithm": "sha256", "value": digest.hexdigest()}},
            "signature": {
                "content": _b64(signature),
                "publicKey": {"content": _b64(cert.public_bytes(Encoding.PEM))},
            },
        }
        message = {
            "messageDigest": {"algorithm": "SHA2_256", "digest": _b64(digest.digest())},
            "signature": _b64(signature),
        }
        return self._bundle(cert, "hashedrekord", spec, {"messageSignature": message}, version)

    def _certificate(self, key: ec.EllipticCurvePrivateKey, workflow: Workflow) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - timedelta(minutes=1))
            .not_valid_after(NOW + timedelta(minutes=9))
            .add_extension(_usage(digital_signature=True, key_cert_sign=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.root_key.public_key()), critical=False
            )
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(workflow.uri)]), critical=True)
        )
        for last, text in workflow.claims.items():
            oid = x509.ObjectIdentifier(f"1.3.6.1.4.1.57264.1.{last}")
            builder = builder.add_extension(x509.UnrecognizedExtension(oid, _utf8(text)), critical=False)
        # the log signs the certificate as it is without its own answer in it (RFC 6962, 3.2)
        tbs = builder.sign(self.root_key, hashes.SHA256()).tbs_certificate_bytes
        milliseconds = int(NOW.timestamp() * 1000)
        issuer = hashlib.sha256(_spki(self.root_key)).digest()
        entry = struct.pack(">BBQH", 0, 0, milliseconds, 1) + issuer + len(tbs).to_bytes(3, "big") + tbs + b"\0\0"
        signature = _sign(self.ct_key, entry)
        log_id = hashlib.sha256(_spki(self.ct_key)).digest()
        sct = b"\0" + log_id + struct.pack(">QH", milliseconds, 0) + b"\4\3" + struct.pack(">H", len(signature))
        sct += signature
        listed = struct.pack(">HH", len(sct) + 2, len(sct)) + sct
        value = b"\x04" + (bytes([len(listed)]) if len(listed) < 128 else bytes([0x81, len(listed)])) + listed
        return builder.add_extension(x509.UnrecognizedExtension(_SCT_LIST, value), critical=False).sign(
            self.root_key, hashes.SHA256()
        )

    def _bundle(
        self, cert: x509.Certificate, kind: str, spec: dict[str, Any], content: dict[str, Any], version: str
    ) -> bytes:
        body = rfc8785.dumps({"apiVersion": "0.0.1", "kind": kind, "spec": spec})
        log_id = hashlib.sha256(_spki(self.log_key)).digest()
        leaf = hashlib.sha256(b"\0" + body).digest()
        when = int(NOW.timestamp())
        promise = rfc8785.dumps({"body": _b64(body), "integratedTime": when, "logID": log_id.hex(), "logIndex": 0})
        note = f"{_ORIGIN}\n1\n{_b64(leaf)}\n"
        checkpoint = f"{note}\n— {_ORIGIN} {_b64(log_id[:4] + _sign(self.log_key, note.encode()))}\n"
        entry = {
            "logIndex": "0",
            "logId": {"keyId": _b64(log_id)},
            "kindVersion": {"kind": kind, "version": "0.0.1"},
            "integratedTime": str(when),
            "inclusionPromise": {"signedEntryTimestamp": _b64(_sign(self.log_key, promise))},
            "inclusionProof": {
                "logIndex": "0",
                "rootHash": _b64(leaf),
                "treeSize": "1",
                "hashes": [],
                "checkpoint": {"envelope": checkpoint},
            },
            "canonicalizedBody": _b64(body),
        }
        der = {"rawBytes": _b64(cert.public_bytes(Encoding.DER))}
        single = version == "v0.3"
        media = f"application/vnd.dev.sigstore.bundle.{version}+json"
        document = {
            "mediaType": media if single else f"application/vnd.dev.sigstore.bundle+json;version={version[1:]}",
            "verificationMaterial": {
                **({"certificate": der} if single else {"x509CertificateChain": {"certificates": [der]}}),
                "tlogEntries": [entry],
            },
            **content,
        }
        return json.dumps(document).encode()


def _usage(*, digital_signature: bool, key_cert_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
