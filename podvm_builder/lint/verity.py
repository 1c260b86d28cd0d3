"""The root: that a hash of it is on the command line, that it is this root's, and that the initrd insists on it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from podvm_builder.formats.filetree import Kind, find, walk
from podvm_builder.lint.known import Known
from podvm_builder.lint.rule import Hit, rule
from podvm_builder.lint.subject import COMMAND_LINE, DISK, INITRD, Need, Subject

_HASH = re.compile(r"(?:roothash|usrhash)=([0-9a-f]{64,128})")
_OPENERS = ("usr/sbin/veritysetup", "sbin/veritysetup", "usr/lib/systemd/systemd-veritysetup")
_IGNORE = re.compile(r"ignore[_-]corruption|ignore[_-]zero[_-]blocks")
_OPENS = re.compile(r"\b(?:veritysetup|systemd-veritysetup)\b")


@rule("PVB844", "root-hash", Need.DISK, Need.COMMAND_LINE, mend="build the image anew: the build appends the hash")
def root_hash(subject: Subject, _: Known) -> Iterator[Hit]:
    """Find a command line without the root hash: nothing measured would tell this root from another."""
    if not any(_HASH.fullmatch(word) for word in subject.words):
        yield COMMAND_LINE, "there is no `roothash=`"


@rule(
    "PVB845",
    "verity",
    Need.COMMAND_LINE,
    mend="take the word out of `kernel.cmdline`, or mend the initrd: a root that does not verify must not be used",
)
def verity(subject: Subject, known: Known) -> Iterator[Hit]:
    """Find what lets a machine boot from a root that does not match its hash."""
    for word in subject.words:
        for pattern, reason in known.facts.verity_words.items():
            if re.fullmatch(pattern, word):
                yield COMMAND_LINE, f"`{word}` {reason}"
    if subject.initrd is not None:
        yield from _initrd(subject)
    elif "initrd-init" in subject.recipe:
        yield from _script(subject.recipe["initrd-init"].data.decode("utf-8", "replace"), "initrd-init")


@rule(
    "PVB846",
    "verity-data",
    Need.DISK,
    Need.COMMAND_LINE,
    mend="build the image anew: what boots would stop at the first block that does not match",
)
def verity_data(subject: Subject, _: Known) -> Iterator[Hit]:
    """Find a root or hash partition that is not the one that the command line's hash is of."""
    hashes = [match[1] for match in map(_HASH.fullmatch, subject.words) if match is not None]
    facts = subject.verity
    if not hashes or facts is None:
        return
    wanted = hashes[-1]
    if facts.computed is None:
        yield DISK, f"the root cannot be verified: {facts.reason}"
    elif facts.computed != wanted:
        yield DISK, f"the root has the hash {facts.computed}, not {wanted} as on the command line"
    for name, half in (("root", wanted[:32]), ("verity", wanted[-32:])):
        found = facts.partitions.get(name)
        if found is not None and found != half:
            yield DISK, f"the {name} partition's UUID is not that half of the root hash by which it is looked for"


def _initrd(subject: Subject) -> Iterator[Hit]:
    tree = subject.initrd
    if tree is None:
        return
    names = {path for path, _ in walk(tree)}
    if not any(path in names for path in _OPENERS):
        yield INITRD, "nothing in the initrd can set up dm-verity"
    init = find(tree, "init")
    if init is not None and init.kind is Kind.FILE and init.size < 1 << 20:
        text = tree.read("init").decode("utf-8", "replace")
        if text.startswith("#!"):
            yield from _script(text, "init")


def _script(text: str, name: str) -> Iterator[Hit]:
    """Look at the commands of an initrd that is a script: comments do not count."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    if not any(_OPENS.search(line) for line in lines):
        yield INITRD, f"`{name}` does not set up dm-verity"
    for line in lines:
        if match := _IGNORE.search(line):
            yield INITRD, f"`{name}` passes over blocks that do not match (`{match[0]}`)"
