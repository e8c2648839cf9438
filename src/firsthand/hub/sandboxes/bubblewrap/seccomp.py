"""The seccomp filter of a sandbox: a small program that the kernel runs at every system call.

The program is classic BPF over `struct seccomp_data` (`linux/seccomp.h`): the call's number at
offset 0, the architecture at 4, six arguments of 64 bits from 16. It forbids what could reach
out of the sandbox and what an agent never needs; everything else is allowed.
"""

import errno
import socket
import struct

from firsthand.hub.errors import SettingsError
from firsthand.hub.sandboxes.bubblewrap.syscalls import MACHINES, Machine

_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_JUMP_GREATER = 0x25  # BPF_JMP | BPF_JGT | BPF_K
_JUMP_BITS = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K

_ALLOW = 0x7FFF0000
_KILL_PROCESS = 0x80000000
_ERRNO = 0x00050000

_NUMBER = 0
_ARCHITECTURE = 4

# Flags of clone(2) that would make a namespace.
_CLONE_NEW_ANYTHING = (
    0x00000080  # time
    | 0x00020000  # mount
    | 0x02000000  # cgroup
    | 0x04000000  # uts
    | 0x08000000  # ipc
    | 0x10000000  # user
    | 0x20000000  # pid
    | 0x40000000  # net
)
# Requests of ioctl(2) that put characters into somebody else's terminal.
_TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX


def compile_filter(machine_name: str) -> bytes:
    """Return the filter for `machine_name` (as `os.uname().machine` spells it).

    Raises `SettingsError` for a machine whose system calls are not known here.
    """
    machine = MACHINES.get(machine_name)
    if machine is None:
        raise SettingsError(
            f"FIRSTHAND_SANDBOX=bubblewrap does not know the system calls of {machine_name}.",
            hint="It runs on " + " and ".join(sorted(MACHINES)) + ".",
        )
    return b"".join(_program(machine))


def _program(machine: Machine) -> list[bytes]:
    program = [
        _op(_LOAD, _ARCHITECTURE),
        _op(_JUMP_EQUAL, machine.audit_arch, 1, 0),
        _op(_RETURN, _KILL_PROCESS),
        _op(_LOAD, _NUMBER),
    ]
    if machine.first_foreign is not None:
        program += [
            _op(_JUMP_GREATER, machine.first_foreign - 1, 0, 1),
            _op(_RETURN, _KILL_PROCESS),
        ]
    program += [_op(_JUMP_GREATER, machine.last, 0, 1), _refuse(errno.ENOSYS)]
    # The flags of clone3 lie in memory where no filter can see them. Told that it is not
    # implemented, every C library falls back to clone.
    program += [_op(_JUMP_EQUAL, machine.clone3, 0, 1), _refuse(errno.ENOSYS)]
    for number in sorted(machine.denied.values()):
        program += [_op(_JUMP_EQUAL, number, 0, 1), _refuse(errno.EPERM)]
    program += _when(
        machine.clone, 0, [_op(_JUMP_BITS, _CLONE_NEW_ANYTHING, 0, 1), _refuse(errno.EPERM)]
    )
    for number in (machine.socket, machine.socketpair):
        program += _when(
            number, 0, [_op(_JUMP_EQUAL, socket.AF_UNIX, 1, 0), _refuse(errno.EAFNOSUPPORT)]
        )
    refuse_input: list[bytes] = []
    for request in _TERMINAL_INPUT:
        refuse_input += [_op(_JUMP_EQUAL, request, 0, 1), _refuse(errno.EPERM)]
    program += _when(machine.ioctl, 1, refuse_input)
    return [*program, _op(_RETURN, _ALLOW)]


def _when(number: int, argument: int, then: list[bytes]) -> list[bytes]:
    """Judge one argument of one call: its lower half, which is all that these calls use."""
    body = [_op(_LOAD, 16 + 8 * argument), *then, _op(_RETURN, _ALLOW)]
    return [_op(_JUMP_EQUAL, number, 0, len(body)), *body]


def _refuse(code: int) -> bytes:
    return _op(_RETURN, _ERRNO | code)


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One `struct sock_filter`."""
    return struct.pack("=HBBI", code, if_true, if_false, value)
