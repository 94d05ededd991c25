"""Takes rights away from a program, and becomes it. Linux; needs nothing but Python.

    confine.py [--read PATH]... [--write PATH]... [limits] [--without-landlock] -- PROGRAM WORD...

It may read and execute what --read names, the system's programs and libraries, and the Python that
runs this; it may write what --write names, and nothing else of the file system is there for it
(Landlock). It gets no TCP where the kernel can refuse that (Linux 6.7), and no signals to processes
outside (6.12). Memory, processor time and the size of a file are limited (setrlimit), and set-uid
programs give it no rights (PR_SET_NO_NEW_PRIVS). All of it holds for what the program starts.

It is no virtual machine: UDP, Unix sockets with a name, chmod and the kernel itself stay within
reach, and the memory limit counts for each process. On a kernel without Landlock it ends with exit
status 78, unless --without-landlock says that the limits alone will do.
"""

import argparse
import ctypes
import os
import resource
import sys
from pathlib import Path

SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc/ld.so.cache", "/etc/ssl/openssl.cnf")
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")

# linux/landlock.h: the calls have these numbers on every architecture.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
VERSION, PATH_BENEATH = 1, 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
TRUNCATE, IOCTL_DEV = 1 << 14, 1 << 15
FS_BITS = {1: 13, 2: 14, 3: 15, 4: 15}  # by version; 16 since 5
READ = EXECUTE | READ_FILE | READ_DIR
OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
TCP = 0b11  # bind, connect
SCOPES = 0b11  # abstract Unix sockets, signals
PR_SET_NO_NEW_PRIVS = 38

libc = ctypes.CDLL(None, use_errno=True)


class RulesetAttributes(ctypes.Structure):
    """struct landlock_ruleset_attr; older kernels know a shorter one."""

    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class PathBeneath(ctypes.Structure):
    """struct landlock_path_beneath_attr."""

    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def system_call(number: int, *arguments: object) -> int:
    """Make a system call; its failure is an OSError."""
    result = libc.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(result)


def landlock_version() -> int:
    """Return the version of Landlock this kernel speaks; 0: none."""
    try:
        return system_call(CREATE_RULESET, None, ctypes.c_size_t(0), VERSION)
    except OSError:
        return 0


def confine_paths(version: int, read: list[str], write: list[str]) -> None:
    """Leave this process nothing of the file system but these paths and what is below them."""
    everything = (1 << FS_BITS.get(version, 16)) - 1
    attributes = RulesetAttributes(
        fs=everything, net=TCP if version >= 4 else 0, scoped=SCOPES if version >= 6 else 0
    )
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = system_call(CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), 0)
    for paths, rights in ((read, READ), (write, everything)):
        for path in paths:
            try:
                beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except FileNotFoundError:
                if path in SYSTEM + DEVICES:
                    continue  # not on this system
                raise
            allowed = rights if Path(path).is_dir() else rights & OF_A_FILE
            rule = PathBeneath(allowed=allowed & everything, parent=beneath)
            system_call(ADD_RULE, ruleset, PATH_BENEATH, ctypes.byref(rule), 0)
            os.close(beneath)
    system_call(RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def limit(kind: int, value: int) -> None:
    """Set a limit that cannot be raised again."""
    resource.setrlimit(kind, (value, value))


def main() -> None:
    """Confine this process and become the program."""
    parser = argparse.ArgumentParser(description="Takes rights away from a program.")
    parser.add_argument("--read", action="append", default=[], metavar="PATH")
    parser.add_argument("--write", action="append", default=[], metavar="PATH")
    parser.add_argument("--memory-mb", type=int, default=2048, help="address space of a process")
    parser.add_argument("--cpu-s", type=int, default=600, help="processor time of a process")
    parser.add_argument("--file-mb", type=int, default=2048, help="size of a file")
    parser.add_argument("--without-landlock", action="store_true")
    parser.add_argument("program", nargs="+")
    asked = parser.parse_args()

    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_AS, asked.memory_mb << 20)
    limit(resource.RLIMIT_CPU, asked.cpu_s)
    limit(resource.RLIMIT_FSIZE, asked.file_mb << 20)
    os.umask(0o077)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        sys.exit("confine: PR_SET_NO_NEW_PRIVS failed")
    version = landlock_version()
    if version:
        python = [sys.prefix, sys.base_prefix]
        confine_paths(version, [*SYSTEM, *python, *asked.read], [*DEVICES, *asked.write])
    elif not asked.without_landlock:
        print("confine: this kernel has no Landlock; see --without-landlock", file=sys.stderr)
        sys.exit(os.EX_CONFIG)
    try:
        os.execvp(asked.program[0], asked.program)
    except OSError as error:
        sys.exit(f"confine: {asked.program[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
