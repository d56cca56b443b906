"""Runs a program as a container runtime does.

    unshare --mount --pid --fork python contain.py --root DIR [--mount FROM:TO[:rw]]... [--tmpfs TO]... -- PROGRAM ...

It sees the root directory alone, read-only, with the mounts on it (read-only, too, but for those with `:rw`); it is uid
and gid 65532, without capabilities and without an environment, and is ended with its parent. `--filter FILE` tells the
system calls that it may do, as unit.Filter.to_json has them; another one kills it.
"""

import argparse
import ctypes
import json
import os
import signal
from pathlib import Path
from typing import Any, cast

USER = 65532
LIBC = ctypes.CDLL(None, use_errno=True)

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
MNT_DETACH = 2
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 1, 24, 38, 47, 4
CAPABILITY_VERSION_3 = 0x20080522


def checked(result: int, what: str) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    values = [None if text is None else text.encode() for text in (source, target, kind, options)]
    checked(LIBC.mount(*values[:3], ctypes.c_ulong(flags), values[3]), f"mount {target}")


def bind(source: str, target: str, writable: bool) -> None:
    mount(source, target, None, MS_BIND)
    mount("", target, None, MS_BIND | MS_REMOUNT | MS_NOSUID | MS_NODEV | (0 if writable else MS_RDONLY))


def enter(root: str, mounts: list[str], tmpfs: list[str]) -> None:
    mount("", "/", None, MS_REC | MS_PRIVATE)
    mount(root, root, None, MS_BIND)
    for each in mounts:
        source, target = each.removesuffix(":rw").split(":")
        bind(source, root + target, each.endswith(":rw"))
    for target in tmpfs:
        mount("tmpfs", root + target, "tmpfs", MS_NOSUID | MS_NODEV, f"mode=0750,uid={USER},gid={USER}")
    mount("", root, None, MS_BIND | MS_REMOUNT | MS_NOSUID | MS_NODEV | MS_RDONLY)
    os.chdir(root)
    checked(LIBC.syscall(SYS_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    checked(LIBC.umount2(b".", MNT_DETACH), "umount2")
    os.chdir("/")


def become_nobody() -> None:
    for capability in range(64):
        if LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            break
    checked(LIBC.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "prctl")
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(USER, USER, USER)
        os.setresuid(USER, USER, USER)
    checked(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
    nothing = (ctypes.c_uint32 * 6)()
    checked(LIBC.capset((ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0), nothing), "capset")
    # Behind the change of user, which forgets it.
    checked(LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")


class Comparison(ctypes.Structure):
    """libseccomp's scmp_arg_cmp: (argument & mask) == value, or without a mask argument == value."""

    _fields_ = (("argument", ctypes.c_uint), ("how", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


EQUAL, MASKED_EQUAL = 4, 7
ALLOW, KILL_PROCESS = 0x7FFF0000, 0x80000000


def compile_filter(allowed: dict[str, Any]) -> tuple[ctypes.CDLL, ctypes.c_void_p]:
    """Everything else kills, so that nothing that is refused goes unseen."""
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(KILL_PROCESS)))

    def allow(call: str, *comparisons: Comparison) -> None:
        number = library.seccomp_syscall_resolve_name(call.encode())
        if number >= 0:  # Not one of another architecture.
            array = (Comparison * len(comparisons))(*comparisons)
            result = library.seccomp_rule_add_array(context, ctypes.c_uint32(ALLOW), number, len(comparisons), array)
            assert result == 0, (call, result)

    write, execute = 2, 4
    conditional = {"socket", "mmap", "mprotect", "pkey_mprotect"}
    for call in set(allowed["calls"]) - conditional:
        allow(call)
    for family in allowed["families"]:
        allow("socket", Comparison(0, EQUAL, family, 0))
    # MemoryDenyWriteExecute.
    allow("mmap", Comparison(2, MASKED_EQUAL, execute, 0))
    allow("mmap", Comparison(2, MASKED_EQUAL, write, 0))
    allow("mprotect", Comparison(2, MASKED_EQUAL, execute, 0))
    return library, context


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", required=True)
    parser.add_argument("--mount", action="append", default=[])
    parser.add_argument("--tmpfs", action="append", default=[])
    parser.add_argument("--filter", type=Path)
    parser.add_argument("program", nargs="+")
    arguments = parser.parse_args()
    compiled = compile_filter(json.loads(arguments.filter.read_text())) if arguments.filter else None
    enter(arguments.root, arguments.mount, arguments.tmpfs)
    become_nobody()
    if compiled:
        library, context = compiled
        checked(cast(int, library.seccomp_load(context)), "seccomp_load")
    os.execve(arguments.program[0], arguments.program, {})


main()
