"""The door into the tools tree: run as a program of its own, ``python3 -I -S enter.py SPEC``, never imported.

SPEC is the JSON that :mod:`podvm_builder.tools.sandbox` writes. Three processes come of it:

* the *monitor*, this process: it dies with the program that started it, passes a request to end on, and kills
  after ``grace`` seconds what has not ended by itself;
* *init*, process 1 of a new pid namespace: it makes the mounts in a mount namespace of its own and collects
  orphans; when it ends, the kernel ends everything else in the namespace and drops the mounts;
* the program.

A request to end that comes while these are made waits until the one that it is meant for can take it.

Everything is system calls: no shell sees a path. What goes wrong before the program runs is written to the
descriptor ``status``, which the program's start closes unwritten.
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWPID = 0x00020000, 0x08000000, 0x20000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE, MS_RELATIME = 1 << 12, 1 << 14, 1 << 18, 1 << 21
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1
REQUESTS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""To end."""
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "s390x": 217}

libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *args: Any) -> None:
    """Call a libc function that returns 0, or raise OSError naming it and its last path."""
    words = [a.encode() if isinstance(a, str) else a for a in args]
    if getattr(libc, name)(*words) != 0:
        error = ctypes.get_errno()
        path = next((a for a in args[1:] if isinstance(a, str)), None)
        raise OSError(error, f"{name}: {os.strerror(error)}", path)


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """mount(2)."""
    call("mount", source, target, kind, ctypes.c_ulong(flags), options)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)


def bind(host: str, target: str, *, read_only: bool) -> None:
    """Show a file or folder of the host at a path of the tree, making the mount point where it can be made."""
    point = Path(target)
    if Path(host).is_dir():
        point.mkdir(parents=True, exist_ok=True)
    elif not point.exists():
        point.parent.mkdir(parents=True, exist_ok=True)
        point.touch()
    mount(host, target, None, MS_BIND | MS_REC)
    if read_only:
        remount_read_only(target)


def remount_read_only(target: str) -> None:
    """Make one mount read-only; its other flags stay, as a user namespace must not drop them."""
    had = os.statvfs(target).f_flag
    kept = had & (MS_NOSUID | MS_NODEV | MS_NOEXEC | os.ST_NOATIME | os.ST_NODIRATIME)
    if had & os.ST_RELATIME:
        kept |= MS_RELATIME
    mount("none", target, None, MS_REMOUNT | MS_BIND | MS_RDONLY | kept)


def make_mounts(spec: dict[str, Any]) -> None:
    """Lay the mounts out and make the tree the root; with no tree, only give the host's root a private /proc."""
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    root = spec["root"]
    if root is None:
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        return
    mount(root, root, None, MS_BIND)
    remount_read_only(root)
    mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for folder in ("/sys", "/dev"):
        mount(folder, root + folder, None, MS_BIND | MS_REC)
    for folder in spec["scratch"]:
        mount("tmpfs", root + folder, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777" if "tmp" in folder else "mode=755")
    for host, inside, read_only in spec["binds"]:
        bind(host, root + inside, read_only=read_only)
    os.chdir(root)
    # pivot_root(".", ".") stacks the old root on the new one, from where it is let go of (pivot_root(2), NOTES)
    number = SYS_PIVOT_ROOT.get(os.uname().machine)
    if number is not None and libc.syscall(ctypes.c_long(number), b".", b".") == 0:
        call("umount2", ".", ctypes.c_int(MNT_DETACH))
    else:
        # a root that is no mount point, as in a plain chroot or an initramfs, cannot be pivoted away
        os.chroot(".")
    os.chdir("/")


def init(spec: dict[str, Any]) -> NoReturn:
    """Be process 1: mounts, then the program, then collect what ends until the program does."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = select.poll()
    parent.register(spec["status"], 0)
    if parent.poll(0):  # nobody reads it any more: the caller ended before its end would have been heard of
        os._exit(128 + signal.SIGKILL)
    make_mounts(spec)
    program = os.fork()
    if program == 0:
        os.setpgid(0, 0)
        for number in REQUESTS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, REQUESTS)
        os.chdir(spec["cwd"])
        os.umask(spec["umask"])
        if spec["cpus"]:
            os.sched_setaffinity(0, spec["cpus"])
        # Python ignores these two, and what is ignored stays so in the program
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        try:
            os.execvpe(spec["args"][0], spec["args"], spec["env"])  # noqa: S606 - a list of words is what is wanted
        except OSError as error:
            # the name that is looked for along the PATH, not the last place it was looked for
            raise OSError(error.errno, f"exec: {os.strerror(error.errno or 0)}", spec["args"][0]) from None

    def pass_on(number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program, number)

    with contextlib.suppress(PermissionError, ProcessLookupError):  # whichever of the two comes first
        os.setpgid(program, program)
    for number in REQUESTS:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, REQUESTS)
    os.close(spec["status"])
    while True:
        pid, status = os.wait()
        if pid == program:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def monitor(child: int, grace: int) -> NoReturn:
    """Wait for init; on a request to end, ask it, and after ``grace`` seconds or a second request kill it."""

    def end(number: int, _frame: FrameType | None) -> None:
        asked = signal.alarm(grace) > 0
        os.kill(child, signal.SIGKILL if asked or number == signal.SIGALRM else number)

    for number in (*REQUESTS, signal.SIGALRM):
        signal.signal(number, end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, REQUESTS)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def main() -> NoReturn:
    """Split into the three processes."""
    spec = json.loads(sys.argv[1])
    die_with_parent(spec["parent"])
    # the program's own start closes the status descriptor
    os.set_inheritable(spec["status"], False)
    # process 1 of a namespace loses a signal that comes before it has a handler
    signal.pthread_sigmask(signal.SIG_BLOCK, REQUESTS)
    try:
        call("unshare", ctypes.c_int(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC))
        child = os.fork()
        if child == 0:
            init(spec)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        os.write(spec["status"], f"{error.errno} {error.strerror}{where}".encode())
        os._exit(126)
    os.close(spec["status"])
    monitor(child, spec["grace"])


if __name__ == "__main__":
    main()
