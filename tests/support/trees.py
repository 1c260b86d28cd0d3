"""cpio archives and small squashfs and EROFS file systems, built from scratch. A text stands for a symbolic link."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

Files = Mapping[str, bytes | str]
Node = dict[str, "Node | bytes | str"]


class Program(bytes):
    """Content of a file that can be executed."""


class Moded(bytes):
    """Content of a file with permissions of its own."""

    mode: int

    @classmethod
    def of(cls, data: bytes, mode: int) -> Moded:
        """Give content permissions."""
        made = cls(data)
        made.mode = mode
        return made


class Special(bytes):
    """Content of a set-user-ID file of user and group 7, changed at second 9, with capabilities."""


def build_cpio(files: Files) -> bytes:
    """Return a `newc` archive with folders before what they hold."""
    folders = {"/".join(path.split("/")[:depth]) for path in files for depth in range(1, path.count("/") + 1)}
    out = b""
    for path in sorted(folders):
        out += _cpio(path, 0o040755, b"")
    for path, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        out += _cpio(path, 0o120777 if isinstance(content, str) else 0o100000 | _mode(content), data)
    return out + _cpio("TRAILER!!!", 0, b"")


def _cpio(path: str, mode: int, data: bytes) -> bytes:
    name = path.encode() + b"\0"
    fields = (1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def _mode(content: bytes) -> int:
    if isinstance(content, Special):
        return 0o4751
    if isinstance(content, Moded):
        return content.mode
    return 0o755 if isinstance(content, Program) else 0o644


def _tree(files: Files) -> Node:
    root: Node = {}
    for path, content in files.items():
        *folders, name = path.split("/")
        node = root
        for folder in folders:
            below = node.setdefault(folder, {})
            assert isinstance(below, dict)
            node = below
        node[name] = content
    return root


NO_FRAGMENT = 0xFFFFFFFF
SQUASHFS_BLOCK = 1 << 17
PACKED = 4096
"""Files of fewer bytes stand together in one fragment."""


class _Squashfs:
    """Data, inodes and listings, each appended before what refers to it."""

    def __init__(self) -> None:
        self.data = b""
        self.fragment = b""
        self.inodes = b""
        self.listings = b""
        self.count = 0

    def add(self, node: Node | bytes | str) -> tuple[int, int]:
        """Write an inode and return its offset in the uncompressed table, and its basic type."""
        self.count += 1
        number = self.count
        if isinstance(node, str):
            body, kind = struct.pack("<II", 1, len(node)) + node.encode(), 3
        elif isinstance(node, bytes):
            body, kind = self._file(node), 2
            if isinstance(node, Special):
                start, fragment, at, size = struct.unpack_from("<IIII", body)
                body, kind = struct.pack("<QQQIIII", start, size, 0, 1, fragment, at, 0) + body[16:], 9
        else:
            below = [(name, *self.add(node[name])) for name in sorted(node)]
            at = len(self.listings)
            for start in range(0, len(below), 200):
                for block in sorted({offset >> 13 for _, offset, _ in below[start : start + 200]}):
                    some = [entry for entry in below[start : start + 200] if entry[1] >> 13 == block]
                    self.listings += struct.pack("<III", len(some) - 1, block * 8194, number)
                    for name, offset, entry_kind in some:
                        text = name.encode()
                        self.listings += struct.pack("<HhHH", offset & 8191, 0, entry_kind, len(text) - 1) + text
            size = len(self.listings) - at + 3
            block = (at >> 13) * 8194
            if size < 1 << 16:
                body, kind = struct.pack("<IIHHI", block, 2, size, at & 8191, 1), 1
            else:
                body, kind = struct.pack("<IIIIHHI", 2, size, block, 1, 0, at & 8191, 0xFFFFFFFF), 8
        offset = len(self.inodes)
        mode = _mode(node) if isinstance(node, bytes) else 0o755
        owner, changed = (1, 9) if isinstance(node, Special) else (0, 0)
        self.inodes += struct.pack("<HHHHII", kind, mode, owner, owner, changed, number) + body
        return offset, {8: 1, 9: 2}.get(kind, kind)

    def _file(self, content: bytes) -> bytes:
        """Store a file's content and return the body of its inode: a block of zeros is left out."""
        if 0 < len(content) < PACKED:
            at = len(self.fragment)
            self.fragment += content
            return struct.pack("<IIII", 0, 0, at, len(content))
        start = 96 + len(self.data)
        sizes = b""
        for begin in range(0, len(content), SQUASHFS_BLOCK):
            piece = content[begin : begin + SQUASHFS_BLOCK]
            packed = zlib.compress(piece)
            if piece.strip(b"\0") and len(packed) < len(piece):
                self.data += packed
                sizes += struct.pack("<I", len(packed))
            elif piece.strip(b"\0"):
                self.data += piece
                sizes += struct.pack("<I", len(piece) | 1 << 24)
            else:
                sizes += bytes(4)
        return struct.pack("<IIII", start, NO_FRAGMENT, 0, len(content)) + sizes


def build_squashfs(files: Files) -> bytes:
    """Return a file system of stored (8 KiB) and, at the end, one compressed metadata block per table."""
    writer = _Squashfs()
    root, _ = writer.add(_tree(files))
    inodes, folders = _blocks(writer.inodes), _blocks(writer.listings)
    packed = zlib.compress(writer.fragment)
    data = writer.data + packed
    start = 96 + len(data)
    end = start + len(inodes) + len(folders)
    fragments = _blocks(struct.pack("<QII", 96 + len(writer.data), len(packed), 0)) + struct.pack("<Q", end)
    table = end + len(fragments) - 8
    ids = _blocks(struct.pack("<II", 0, 7)) + struct.pack("<Q", table + 8)
    id_table = table + 8 + len(ids) - 8
    # one set of extended attributes: a value of which nothing is read, and the one that is looked for
    at = id_table + 8
    sets = b"".join(
        struct.pack("<HH", prefix, len(name)) + name + struct.pack("<I", 3) + b"abc"
        for prefix, name in ((0, b"capability"), (2, b"capability"))
    )
    values = _blocks(sets)
    numbers = _blocks(struct.pack("<QII", 0, 2, len(sets)))
    xattr_table = at + len(values) + len(numbers)
    xattrs = values + numbers + struct.pack("<QIIQ", at, 1, 0, at + len(values))
    reference = (root >> 13) * 8194 << 16 | root & 8191
    head = struct.pack(
        "<4sIIIIHHHHHHQQQQQQQQ",
        *(b"hsqs", writer.count, 0, SQUASHFS_BLOCK, 1, 1, 17, 0, 2, 4, 0),
        *(reference, xattr_table + 24, id_table, xattr_table, start, start + len(inodes), table, 0xFFFFFFFFFFFFFFFF),
    )
    return head + data + inodes + folders + fragments + ids + xattrs + bytes(4096)


def _blocks(data: bytes) -> bytes:
    out = b""
    for at in range(0, len(data), 8192):
        piece = data[at : at + 8192]
        if len(piece) == 8192:  # stored, so that offsets of later blocks are known beforehand
            out += struct.pack("<H", 8192 | 0x8000) + piece
        else:
            packed = zlib.compress(piece)
            out += struct.pack("<H", len(packed)) + packed if len(packed) < len(piece) else b""
            out += struct.pack("<H", len(piece) | 0x8000) + piece if len(packed) >= len(piece) else b""
    return out or struct.pack("<H", 1 | 0x8000) + b"\0"


BLOCK = 4096


def build_erofs(files: Files) -> bytes:
    """Return a file system of 4 KiB blocks: plain folders, links behind their inodes."""
    inodes = bytearray(32)  # number 0 is left out
    blocks: list[bytes] = []
    placed: list[int] = []  # inodes whose blocks stand in `blocks`

    def add(node: Node | bytes | str, above: int | None) -> tuple[int, int]:
        at = len(inodes)
        number = at // 32
        if isinstance(node, str):
            text = node.encode()
            inodes.extend(_inode(0o120777, len(text), layout=2))
            inodes.extend(text + bytes(-len(text) % 32))
            return number, 7
        if isinstance(node, bytes):
            # as `mkfs.erofs` does: what fits behind the inode stands there, the rest in blocks of its own
            inline = len(node) < BLOCK // 2
            start = 0 if inline else len(blocks)
            inode = _inode(0o100000 | _mode(node), len(node), layout=2 if inline else 0, block=start)
            if isinstance(node, Special):
                inode = _special_inode(len(node))
            inodes.extend(inode)
            if inline:
                inodes.extend(node)
                inodes.extend(bytes(-len(inodes) % 32))
            else:
                placed.append(at)
                blocks.extend(node[from_ : from_ + BLOCK].ljust(BLOCK, b"\0") for from_ in range(0, len(node), BLOCK))
            return number, 1
        inodes.extend(bytes(32))
        entries = [(".", number, 2), ("..", above or number, 2)]
        entries += [(name, *add(node[name], number)) for name in node]
        packed = _listing(sorted(entries))
        start = len(blocks)
        blocks.extend(packed)
        placed.append(at)
        inodes[at : at + 32] = _inode(0o040755, BLOCK * len(packed), layout=0, block=start)
        return number, 2

    root, _ = add(_tree(files), None)
    meta = -(-len(inodes) // BLOCK)
    # the blocks stand behind the inodes, which begin at block 1
    for at in placed:
        (block,) = struct.unpack_from("<I", inodes, at + 16)
        struct.pack_into("<I", inodes, at + 16, 1 + meta + block)
    head = bytearray(BLOCK)
    struct.pack_into("<4sIIBBH", head, 1024, b"\xe2\xe1\xf5\xe0", 0, 0, 12, 0, root)
    struct.pack_into("<I", head, 1024 + 40, 1)
    return bytes(head) + bytes(inodes).ljust(meta * BLOCK, b"\0") + b"".join(blocks)


def _inode(mode: int, size: int, *, layout: int, block: int = 0) -> bytes:
    return struct.pack("<HHHHIIIIHHI", layout << 1, 0, mode, 1, size, 0, block, 0, 0, 0, 0)


def _special_inode(size: int) -> bytes:
    """Return an extended inode with two attributes of its own behind it, and its content to stand behind these."""
    own = b"".join(struct.pack("<BBH", 10, prefix, 2) + b"capabilityab" for prefix in (1, 6))
    count = len(own) // 4 + 1
    head = struct.pack("<HHHHQIIIIQIIQQ", 2 << 1 | 1, count, 0o104751, 1, size, 0, 0, 7, 7, 9, 0, 1, 0, 0)
    return head + bytes(12) + own


def _listing(entries: list[tuple[str, int, int]]) -> list[bytes]:
    blocks: list[bytes] = []
    group: list[tuple[str, int, int]] = []

    def flush() -> None:
        names = b""
        heads = b""
        for name, number, kind in group:
            heads += struct.pack("<QHBB", number, 12 * len(group) + len(names), kind, 0)
            names += name.encode()
        blocks.append((heads + names).ljust(BLOCK, b"\0"))

    for entry in entries:
        if sum(12 + len(name) for name, _, _ in [*group, entry]) > BLOCK:
            flush()
            group = []
        group.append(entry)
    flush()
    return blocks
