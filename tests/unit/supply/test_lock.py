"""Component locks: one lock has one text, and an edit is noticed."""

from __future__ import annotations

import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from podvm_builder.errors import InputError, InputErrors
from podvm_builder.model.components import ComponentLock, LockedFile, SourceKind
from podvm_builder.supply.lock_document import lock_digest, parse_lock, render_lock
from tests.unit.supply.locks import component, digest, example


def refused(text: str) -> InputError:
    with pytest.raises(InputError) as caught:
        parse_lock(text, file="components.lock.yaml")
    error = caught.value
    return error.errors[0] if isinstance(error, InputErrors) else error


def with_own_digest(text: str) -> str:
    """Return a lock's text with the digest that its content has: what a careful forger writes."""
    import hashlib

    import rfc8785

    values = yaml.safe_load(text)
    values.pop("digest")
    new = f"sha256:{hashlib.sha256(rfc8785.dumps(values)).hexdigest()}"
    return re.sub(r"(?m)^digest: .*$", f"digest: {new}", text)


def test_a_lock_is_read_as_it_was_written() -> None:
    text = render_lock(example())
    assert parse_lock(text, file="x") == example()
    assert text.startswith("# Written by `podvm-build components lock`.")
    assert yaml.safe_load(text)["digest"] == lock_digest(example())


def test_the_order_of_components_does_not_matter() -> None:
    lock = example()
    turned = ComponentLock(
        arch=lock.arch, tee=lock.tee, trusted_root=lock.trusted_root, components=lock.components[::-1]
    )
    assert render_lock(turned) == render_lock(lock)


TEXTS = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=20)


@given(name=st.from_regex(r"[a-z]{1,9}", fullmatch=True), licence=TEXTS, reason=TEXTS, member=st.none() | TEXTS)
def test_any_text_survives(name: str, licence: str, reason: str, member: str | None) -> None:
    file = LockedFile(path=f"/usr/{name}", member=member, mode=0o644, digest=digest("x"), size=1)
    one = component(name, licence=licence, unverified=reason, files=(file,))
    lock = example(components=(one,), trusted_root=None, tee=None)
    assert parse_lock(render_lock(lock), file="x") == lock


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("arch: x86_64", "arch: aarch64"),
        ("a test", "A test"),
        (digest("kata-agent"), digest("evil")),
        ("size: 7", "size: 8"),
        ("0755", "0644"),
        ("repository: a/b", "repository: a/c"),
    ],
)
def test_an_edit_by_hand_is_refused(old: str, new: str) -> None:
    text = render_lock(example())
    assert old in text
    error = refused(text.replace(old, new, 1))
    assert error.code == "PVB740" and "edited by hand" in error.message
    assert error.place is not None and error.place.line == 3
    assert error.hint is not None and "components lock SET" in error.hint


def test_comments_and_layout_are_no_edit() -> None:
    text = render_lock(example()).replace("arch: x86_64", "arch:   x86_64 # mine")
    assert parse_lock(text, file="x") == example()


@pytest.mark.parametrize("cut", [1, 8])
def test_a_digest_of_the_wrong_length_is_named(cut: int) -> None:
    whole = digest("kata-agent")
    error = refused(render_lock(example()).replace(whole, whole[:-cut]))
    assert error.code == "PVB734" and f"{64 - cut} characters" in error.message
    assert error.place is not None and error.place.text is not None and whole[:-cut] in error.place.text


def test_two_components_for_one_path_are_refused() -> None:
    one = component("b", files=component("a").files)
    error = refused(render_lock(example(components=(component("a"), one))))
    assert error.code == "PVB738" and "`a` and `b` both become `/usr/local/bin/a`" in error.message


def test_a_component_without_policy_or_reason_is_refused_whatever_the_digest() -> None:
    text = render_lock(example(components=(component("a"),)))
    cut = re.sub(r"  unverified:\n    reason: a test", "  unverified: null", text)
    assert cut != text
    assert refused(with_own_digest(cut)).code == "PVB736"
    assert (
        refused(render_lock(example(components=(component("a", SourceKind.SELFTEST, unverified="x"),)))).code
        == "PVB736"
    )


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[]", "PVB104"),
        ("schema: podvm-components/2\n", "PVB105"),
        ("{", "PVB106"),
        (render_lock(example()) + "more: 1\n", "PVB103"),
        (re.sub(r"(?m)^tee: .*\n", "", render_lock(example())), "PVB105"),
        (render_lock(example()).replace("kind: image", "kind: floppy"), "PVB104"),
    ],
)
def test_what_is_no_lock(text: str, code: str) -> None:
    assert refused(text).code == code


@given(st.text(max_size=200))
def test_any_text_is_a_lock_or_an_error(text: str) -> None:
    with pytest.raises(InputError):
        parse_lock(text, file="x")
