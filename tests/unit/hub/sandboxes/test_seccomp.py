"""The filter's program, run step by step for machines that we may not be on."""

import errno
import struct

import pytest

from firsthand.hub.errors import SettingsError
from firsthand.hub.sandboxes.bubblewrap.seccomp import compile_filter
from firsthand.hub.sandboxes.bubblewrap.syscalls import MACHINES, Machine

ALLOW = 0x7FFF0000
KILL = 0x80000000
NEW_USER_NAMESPACE = 0x10000000
AF_UNIX, AF_INET, AF_VSOCK = 1, 2, 40
TIOCSTI = 0x5412


def refused(code: int) -> int:
    return 0x00050000 | code


def judge(machine_name: str, number: int, *arguments: int, arch: int | None = None) -> int:
    """Run the program as the kernel would and return what it returns."""
    arch = MACHINES[machine_name].audit_arch if arch is None else arch
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number, arch, 0, *padded)
    program = list(struct.iter_unpack("=HBBI", compile_filter(machine_name)))
    accumulator, position = 0, 0
    while True:
        code, if_true, if_false, value = program[position]
        position += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, value)
            case 0x15:
                position += if_true if accumulator == value else if_false
            case 0x25:
                position += if_true if accumulator > value else if_false
            case 0x45:
                position += if_true if accumulator & value else if_false
            case 0x06:
                return value
            case _:
                raise AssertionError(f"an instruction that nobody expected: {code:#x}")


@pytest.fixture(params=MACHINES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def machine(name: str) -> Machine:
    return MACHINES[name]


def test_calls_of_another_architecture_kill(name: str) -> None:
    assert judge(name, 0, arch=0x40000003) == KILL


def test_every_call_of_the_list_is_refused(name: str, machine: Machine) -> None:
    assert {judge(name, number) for number in machine.denied.values()} == {refused(errno.EPERM)}


def test_all_others_are_allowed(name: str, machine: Machine) -> None:
    judged = {machine.clone3, machine.socket, machine.socketpair, *machine.denied.values()}
    others = set(range(machine.last + 1)) - judged
    assert {judge(name, number) for number in others} == {ALLOW}


@pytest.mark.parametrize("call", ["socket", "socketpair"])
def test_only_unix_sockets_can_be_made(name: str, machine: Machine, call: str) -> None:
    number = {"socket": machine.socket, "socketpair": machine.socketpair}[call]
    assert judge(name, number, AF_UNIX) == ALLOW
    assert judge(name, number, AF_INET) == refused(errno.EAFNOSUPPORT)
    assert judge(name, number, AF_VSOCK) == refused(errno.EAFNOSUPPORT)


def test_processes_can_be_made_but_no_namespaces(name: str, machine: Machine) -> None:
    assert judge(name, machine.clone, 0x4111) == ALLOW
    assert judge(name, machine.clone, 0x4111 | NEW_USER_NAMESPACE) == refused(errno.EPERM)
    assert judge(name, machine.clone3) == refused(errno.ENOSYS)


def test_nothing_is_typed_into_a_terminal(name: str, machine: Machine) -> None:
    assert judge(name, machine.ioctl, 1, TIOCSTI) == refused(errno.EPERM)
    # The kernel looks at the lower half only, and so does the filter.
    assert judge(name, machine.ioctl, 1, TIOCSTI | 1 << 32) == refused(errno.EPERM)


def test_calls_that_nobody_has_judged_are_not_there(name: str, machine: Machine) -> None:
    assert judge(name, machine.last + 1) == refused(errno.ENOSYS)


def test_the_second_interface_of_x86_kills() -> None:
    assert judge("x86_64", 0x40000000) == KILL
    assert judge("x86_64", 0xFFFFFFFF) == KILL


def test_an_unknown_machine_is_named() -> None:
    with pytest.raises(SettingsError, match="riscv64"):
        compile_filter("riscv64")
