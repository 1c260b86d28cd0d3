"""The record of what verifiers were told: a chain that only grows, in a folder and in a registry."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podvm_builder.errors import FormatError, InputError, RemoteError
from podvm_builder.publish.history import FolderHistory, History, RegistryHistory, open_history, record
from podvm_builder.refvalues.ledger import (
    PUSH,
    RETIRE,
    Entry,
    RegisteredImage,
    active_images,
    decode_chain,
    encode_entry,
)
from podvm_builder.refvalues.merge import ABSENT, Change
from tests.support.registry import real_registry

CHANGE = Change(name="mr_td", before=["aa"], after=["aa", "bb"])
Opener = Callable[[], AbstractContextManager[History]]


def image(name: str, *values: str) -> RegisteredImage:
    return RegisteredImage(target=f"debian-13/snp/{name}", image=name, values={"m": list(values)})


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with real_registry(tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture(params=["folder", "registry"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    if request.param == "folder":
        return lambda: open_history(str(tmp_path / "history"))
    host = request.getfixturevalue("registry")
    place = f"oci://{host}/history/{abs(hash(request.node.name))}:trustee"
    return lambda: open_history(place)


def add(opened: Opener, action: str, where: str, *images: RegisteredImage, change: Change = CHANGE) -> Entry | None:
    with opened() as history:
        return record(history, action=action, where=where, images=images, changes=[change])


def entries(opened: Opener) -> tuple[Entry, ...]:
    with opened() as history:
        return decode_chain(history.chain())


def test_entries_follow_each_other(opened: Opener) -> None:
    assert entries(opened) == ()
    first = add(opened, PUSH, "https://a", image("one", "1"))
    second = add(opened, RETIRE, "https://a", image("one", "1"))
    assert first is not None
    assert second is not None
    assert entries(opened) == (first, second)
    assert (first.number, first.previous, second.number) == (1, None, 2)
    assert first.changes == (("mr_td", ("bb",), ()),)
    assert first.file == "000001-push.json"


def test_what_a_verifier_takes_is_known(opened: Opener) -> None:
    for action, where, one in (
        (PUSH, "a", image("one", "1")),
        (PUSH, "a", image("two", "2")),
        (PUSH, "b", image("three", "3")),
        (PUSH, "a", image("one", "1", "1b")),
        (RETIRE, "a", image("two")),
    ):
        add(opened, action, where, one)
    assert active_images(entries(opened), "a") == (image("one", "1", "1b"),)
    assert active_images(entries(opened), "b") == (image("three", "3"),)
    assert active_images(entries(opened), "c") == ()


def test_what_is_known_is_not_said_again(opened: Opener) -> None:
    same = Change(name="mr_td", before=["bb"], after=["bb"])
    assert add(opened, PUSH, "a", image("one"), change=same) is not None  # registered before the history began
    assert add(opened, PUSH, "a", image("one"), change=same) is None
    assert add(opened, RETIRE, "a", image("two"), change=same) is None
    assert len(entries(opened)) == 1


@pytest.mark.parametrize("damage", ["edited", "missing", "strange"])
def test_a_chain_that_was_tampered_with_is_refused(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "history"
    for name in ("one", "two", "three"):
        add(lambda: open_history(str(folder)), PUSH, "a", image(name))
    first = folder / "000001-push.json"
    if damage == "edited":
        first.write_text(first.read_text(encoding="utf-8").replace("snp/one", "snp/ONE"), encoding="utf-8")
    elif damage == "missing":
        (folder / "000002-push.json").unlink()
    else:
        first.write_text("{}", encoding="utf-8")
    with pytest.raises(FormatError) as caught:
        add(lambda: open_history(str(folder)), PUSH, "a", image("four"))
    assert caught.value.code == "PVB667"
    assert not (folder / "000004-push.json").exists()


def test_an_entry_that_somebody_else_added_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    history = FolderHistory(tmp_path / "history")
    chain = history.chain()
    history.add(chain, "000001-push.json", b"theirs")
    for name in ("000001-push.json", "000001-retire.json"):
        with pytest.raises(InputError) as caught:
            history.add(chain, name, b"ours")
        assert caught.value.code == "PVB667"
    assert [path.name for path in (tmp_path / "history").iterdir()] == ["000001-push.json"]


def test_another_artifact_is_no_history(registry: str, tmp_path: Path) -> None:
    from podvm_builder.model.oci import Reference
    from podvm_builder.tools.oci import BlobStore, DockerConfig, RegistryClient
    from tests.support.registry import push_artifact

    reference = Reference.parse(f"{registry}/other:v1")
    with RegistryClient(store=BlobStore(tmp_path / "store"), config=DockerConfig()) as client:
        push_artifact(client, reference, [b"a"], tmp_path)
        with pytest.raises(InputError) as caught:
            RegistryHistory(client, reference).chain()
    assert caught.value.code == "PVB667"


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("oci://127.0.0.1:1/a@sha256:" + "0" * 64, "PVB667"),
        ("oci://127.0.0.1:1/a:b@sha256:" + "0" * 64, "PVB667"),
        ("oci://nothing", "PVB700"),
    ],
)
def test_places_that_cannot_be(place: str, code: str) -> None:
    with pytest.raises(InputError) as caught, open_history(place):
        pass
    assert caught.value.code == code


def test_a_registry_that_does_not_answer_is_no_empty_history(tmp_path: Path) -> None:
    from podvm_builder.model.oci import Reference
    from podvm_builder.tools.oci import BlobStore, DockerConfig, RegistryClient, Retries

    store, once = BlobStore(tmp_path / "store"), Retries(attempts=1)
    with (
        RegistryClient(store=store, config=DockerConfig(), retries=once) as client,
        pytest.raises(RemoteError) as caught,
    ):
        RegistryHistory(client, Reference.parse("127.0.0.1:1/a:b")).chain()
    assert caught.value.code == "PVB704"


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=10)
flat_maps = st.dictionaries(texts, st.lists(texts, max_size=2) | st.booleans() | st.integers(0, 9), max_size=3)
made = st.builds(
    Entry,
    number=st.just(1),
    previous=st.none(),
    time=texts,
    action=st.sampled_from([PUSH, RETIRE]),
    where=texts,
    images=st.lists(st.builds(RegisteredImage, target=texts, image=texts, values=flat_maps), max_size=2).map(tuple),
    changes=st.lists(
        st.tuples(texts, st.lists(texts, max_size=2).map(tuple), st.lists(texts, max_size=2).map(tuple)), max_size=2
    ).map(tuple),
)


@given(entry=made)
def test_entries_are_read_back(entry: Entry) -> None:
    assert decode_chain([encode_entry(entry)]) == (entry,)


@given(data=st.binary(max_size=50) | st.recursive(texts | st.none() | st.integers(), st.lists).map(json.dumps))
def test_any_bytes_are_an_entry_or_an_error_of_ours(data: Any) -> None:
    try:
        decode_chain([data if isinstance(data, bytes) else data.encode()])
    except FormatError as error:
        assert error.code == "PVB667"


def test_a_name_that_came_new_is_a_change() -> None:
    assert Change(name="a", before=ABSENT, after=["b"]).added == ("b",)
