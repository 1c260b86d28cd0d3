"""SNP ID blocks for the launch digests of an image, signed: what QEMU and the firmware check before a guest starts.

A block is for one digest, so an image with several vCPU counts has several. The document is
``{"id_blocks": [{"launch_digest", "variants", "id_block", "id_auth", "id_key_digest", "author_key_digest"}]}``; the two
structures are in base64, as QEMU's ``sev-snp-guest`` object takes them, and a verifier may compare the key digests
instead of the launch digest.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.id_block import (
    DEFAULT_POLICY,
    IdBlock,
    decode_id_auth,
    decode_id_block,
    encode_id_auth,
    encode_id_block,
    key_digest,
)
from podvm_builder.measure.id_block import read_private_key, sign_id_block, verify_id_block
from podvm_builder.model.measurement import Measurement
from podvm_builder.refvalues.records import as_object, dump, parse_json
from podvm_builder.refvalues.registers import RegisterValue, flat, only_boot, register_rows
from podvm_builder.refvalues.registry import ExportRequest, FlatMap, Format, wrong

NO_KEY = "PVB660"
_REGISTER, _ALG = "snp.launch_digest", "sha384"
_BLOCKS = "id_blocks"


def id_block(request: ExportRequest) -> bytes:
    """Return the blocks. The guest policy is the fact ``snp_guest_policy`` where it is said.

    Raises:
        InputError: PVB660, no key is given, or the fact has several values; PVB239, a key is none of P-384.
        Finding: as for every form.
    """
    if request.options.key is None:
        raise InputError("an ID block is signed", code=NO_KEY, hint="give the ID key, P-384, with `--key FILE`")
    id_key = read_private_key(request.options.key, name="the ID key")
    author = request.options.author_key
    author_key = None if author is None else read_private_key(author, name="the author key")
    of_boot = only_boot(request)

    def wanted(row: Measurement) -> bool:
        return row.register == _REGISTER and row.alg == _ALG and of_boot(row)

    variants: dict[bytes, list[dict[str, Any]]] = {}
    for row in register_rows(request, wanted):
        if row.value is not None:
            variants.setdefault(row.value, []).append(dict(row.variant))
    policy = _policy(request)
    found = []
    for digest, cases in variants.items():
        block = IdBlock(launch_digest=digest, policy=policy)
        auth = sign_id_block(block, id_key=id_key, author_key=author_key)
        found.append(
            {
                "launch_digest": digest.hex(),
                "variants": cases,
                "id_block": base64.b64encode(encode_id_block(block)).decode("ascii"),
                "id_auth": base64.b64encode(encode_id_auth(auth)).decode("ascii"),
                "id_key_digest": key_digest(auth.id_key).hex(),
                "author_key_digest": None if auth.author_key is None else key_digest(auth.author_key).hex(),
            }
        )
    return dump({_BLOCKS: found}, indent=2)


def read_id_block(data: bytes) -> FlatMap:
    """Read the blocks, and check that each says what stands beside it and that its signatures are right.

    Raises:
        FormatError: a block that is none, is not signed by the key in it, or is for another digest (PVB607).
    """
    blocks = as_object(parse_json(data, "id-block"), "id-block").get(_BLOCKS)
    if not isinstance(blocks, list) or not blocks:
        raise wrong(f"id-block: `{_BLOCKS}` is not a list of blocks")
    digests = tuple(_digest(value, f"id-block: block {index}") for index, value in enumerate(blocks))
    return flat([RegisterValue(register=_REGISTER, alg=_ALG, values=digests)])


def _policy(request: ExportRequest) -> int:
    said = {**request.measurements.facts, **request.facts}.get("snp_guest_policy", ())
    if len(said) > 1:
        raise InputError(
            "an ID block is for one guest policy, and the fact `snp_guest_policy` has several values",
            code=NO_KEY,
            hint="`--fact snp_guest_policy=VALUE` says one",
        )
    return int(said[0]) if said else DEFAULT_POLICY


def _digest(value: object, what: str) -> bytes:
    one = as_object(value, what)
    try:
        block = decode_id_block(_bytes(one.get("id_block")))
        auth = decode_id_auth(_bytes(one.get("id_auth")))
    except (FormatError, InputError, ValueError) as error:
        raise wrong(f"{what}: {error}") from error
    author = None if auth.author_key is None else key_digest(auth.author_key).hex()
    said = (one.get("launch_digest"), one.get("id_key_digest"), one.get("author_key_digest"))
    if said != (block.launch_digest.hex(), key_digest(auth.id_key).hex(), author):
        raise wrong(f"{what}: the digests beside it are not those in it")
    if not verify_id_block(block, auth):
        raise wrong(f"{what}: its signature is wrong")
    return block.launch_digest


def _bytes(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("a structure is not a text")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from error


FORMAT = Format(
    name="id-block",
    title="SNP ID blocks with their authentication, signed with `--key`",
    file="id-blocks.json",
    media="application/json",
    encode=id_block,
    decode=read_id_block,
    recognise=lambda _, parsed: isinstance(parsed, dict) and _BLOCKS in parsed,
    heeds=frozenset({"boot", "key", "author_key", "facts"}),
)
