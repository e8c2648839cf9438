"""A program that tries to get out of a sandbox. Runs inside, in place of the agent.

Its first argument is a file with what the test knows of the host; it prints one JSON object that
says of each attempt how it was refused, or `null` where it succeeded.
"""

import ctypes
import errno
import fcntl
import json
import mmap
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Host:
    """What the test knows and an intruder would like to know. Paths are those of the host."""

    abstract_socket: str
    clone: int
    clone3: int
    data: str
    database: str
    denied: dict[str, int]
    first_foreign: int | None
    home_secret: str
    hub_pid: int
    key: str
    last: int
    namespaces: dict[str, str]
    other_agent: str
    other_sandbox: str
    package: str
    port: int
    tree_inside: str
    file_size_bytes: int
    memory_bytes: int
    open_files: int
    processes: int


attempts: dict[str, Callable[[Host], object]] = {}
libc = ctypes.CDLL(None, use_errno=True)


class NotThereError(Exception):
    """Nothing refused it, but what it would have revealed is not there."""


def attempt(function: Callable[[Host], object]) -> Callable[[Host], object]:
    attempts[function.__name__] = function
    return function


def call(number: int, *arguments: int) -> int:
    result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def names_in(folder: str | Path) -> set[str]:
    return {path.name for path in Path(folder).iterdir()}


# The network.


def socket_maker(family: int, kind: int) -> Callable[[Host], object]:
    return lambda _: socket.socket(family, kind).close()


attempts |= {
    "make_an_internet_socket": socket_maker(socket.AF_INET, socket.SOCK_STREAM),
    "make_an_internet_6_socket": socket_maker(socket.AF_INET6, socket.SOCK_DGRAM),
    "make_a_netlink_socket": socket_maker(socket.AF_NETLINK, socket.SOCK_RAW),
    "make_a_packet_socket": socket_maker(socket.AF_PACKET, socket.SOCK_RAW),
    "make_a_kernel_crypto_socket": socket_maker(socket.AF_ALG, socket.SOCK_SEQPACKET),
}


@attempt
def connect_to_a_port_of_the_host(host: Host) -> None:
    socket.create_connection(("127.0.0.1", host.port), timeout=5).close()


@attempt
def see_a_network_device_of_the_host(_: Host) -> None:
    if {name for _, name in socket.if_nameindex()} <= {"lo"}:
        raise NotThereError


@attempt
def connect_to_an_abstract_socket_of_the_host(host: Host) -> None:
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect("\0" + host.abstract_socket)


@attempt
def connect_to_another_sandboxs_agent(host: Host) -> None:
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(host.other_agent)


# Files that are somebody else's.


@attempt
def list_the_checkouts(_: Host) -> None:
    names_in("/checkouts")


@attempt
def make_the_checkouts_listable(_: Host) -> None:
    Path("/checkouts").chmod(0o755)


@attempt
def read_another_sandboxs_folder(host: Host) -> None:
    names_in(Path(host.other_sandbox))


@attempt
def read_the_hubs_data_folder(host: Host) -> None:
    names_in(Path(host.data))


@attempt
def read_the_database(host: Host) -> None:
    Path(host.database).read_bytes()


@attempt
def read_a_home_folder(host: Host) -> None:
    Path(host.home_secret).read_bytes()


@attempt
def list_home(_: Host) -> None:
    names_in("/home")


@attempt
def read_the_hosts_users(_: Host) -> None:
    Path("/etc/passwd").read_bytes()


@attempt
def read_the_hosts_settings(_: Host) -> None:
    if names_in("/etc") <= {"ld.so.cache"}:
        raise NotThereError


@attempt
def find_a_key_in_an_environment(host: Host) -> None:
    for environment in Path("/proc").glob("[0-9]*/environ"):
        if host.key.encode() in environment.read_bytes():
            return
    raise NotThereError


@attempt
def inherit_an_open_file(_: Host) -> None:
    given = int(sys.argv[sys.argv.index("--socket") + 1].removeprefix("fd:"))
    for name in names_in("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the listing's own
            target = str(Path(f"/proc/self/fd/{name}").readlink())
            if int(name) not in {0, 1, 2, given} and "/fd" not in target:
                return
    if str(Path("/proc/self/fd/0").readlink()) == "/dev/null":
        raise NotThereError


# Processes of the host.


@attempt
def see_a_process_of_the_host(host: Host) -> None:
    pids = {int(name) for name in names_in("/proc") if name.isdigit()}
    if pids == {os.getpid()} == {1}:
        raise NotThereError


@attempt
def signal_the_hub(host: Host) -> None:
    os.kill(host.hub_pid, 0)


@attempt
def look_through_process_one(host: Host) -> None:
    names_in("/proc/1/root" + host.data)


@attempt
def read_the_hosts_memory(_: Host) -> None:
    with Path("/proc/kcore").open("rb") as memory:
        memory.read(1)


@attempt
def change_a_setting_of_the_kernel(_: Host) -> None:
    Path("/proc/sys/kernel/core_pattern").write_text("|/tmp/run-me")


@attempt
def pull_the_kernels_trigger(_: Host) -> None:
    Path("/proc/sysrq-trigger").write_text("h")


# Writing.


@attempt
def write_to_a_checkout(host: Host) -> None:
    (Path(host.tree_inside) / "new").write_text("x")


@attempt
def change_a_file_of_a_checkout(host: Host) -> None:
    with (Path(host.tree_inside) / "file").open("r+") as file:
        file.write("x")


def file_writer(folder: Callable[[Host], str]) -> Callable[[Host], object]:
    return lambda host: Path(folder(host), "new").write_text("x")


attempts |= {
    "write_to_the_root": file_writer(lambda _: "/"),
    "write_to_the_system": file_writer(lambda _: "/usr/bin"),
    "write_to_devices": file_writer(lambda _: "/dev"),
    "write_to_pythons_packages": file_writer(lambda _: sys.prefix),
    "write_to_our_own_code": file_writer(lambda host: host.package),
}


@attempt
def make_a_socket_beside_the_gateways(_: Host) -> None:
    with socket.socket(socket.AF_UNIX) as own:
        own.bind("/run/gateway/new")


@attempt
def remove_the_gateways_socket(_: Host) -> None:
    Path("/run/gateway/s").unlink()


@attempt
def replace_the_gateways_socket(_: Host) -> None:
    Path("/tmp/s").write_text("x")
    Path("/tmp/s").rename("/run/gateway/s")


# Privileges.


@attempt
def become_root(_: Host) -> None:
    os.setuid(0)


@attempt
def run_a_program_as_its_owner(_: Host) -> None:
    status = Path("/proc/self/status").read_text()
    if os.statvfs("/usr/bin").f_flag & os.ST_NOSUID and "NoNewPrivs:\t1" in status:
        raise NotThereError


@attempt
def hold_a_capability(_: Host) -> None:
    lines = dict(
        line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines()
    )
    if all(int(lines[f"Cap{kind}"], 16) == 0 for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")):
        raise NotThereError


@attempt
def raise_a_limit(_: Host) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    resource.setrlimit(resource.RLIMIT_NPROC, (hard + 1, hard + 1))


@attempt
def share_a_namespace_with_the_host(host: Host) -> None:
    theirs = host.namespaces
    if all(str(Path(f"/proc/self/ns/{kind}").readlink()) != link for kind, link in theirs.items()):
        raise NotThereError


@attempt
def make_a_user_namespace(host: Host) -> None:
    child = call(host.clone, 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


@attempt
def make_a_namespace_where_no_filter_sees_it(host: Host) -> None:
    call(host.clone3, 0, 0)


@attempt
def call_what_is_newer_than_the_filter(host: Host) -> None:
    call(host.last + 1)


@attempt
def type_into_a_terminal(_: Host) -> None:
    with Path("/dev/null").open("rb") as file:
        try:
            fcntl.ioctl(file, 0x5412, b"x")
        except OSError as error:
            # Anything else would be the device's answer, not the filter's.
            if error.errno != errno.EPERM:
                return
            raise


@attempt
def make_calls_of_another_interface(host: Host) -> None:
    if host.first_foreign is None:
        raise NotThereError
    child = os.fork()
    if child == 0:
        call(host.first_foreign + 39)  # getpid(2), as the x32 interface numbers it
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSYS:
        raise NotThereError


# Using everything up.


@contextmanager
def reaped(children: list[int]) -> Generator[None]:
    try:
        yield
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


@attempt
def fork_without_end(host: Host) -> None:
    children: list[int] = []
    with reaped(children):
        while len(children) < host.processes:
            child = os.fork()
            if child == 0:
                signal.pause()
                os._exit(0)
            children.append(child)


@attempt
def use_more_memory(host: Host) -> None:
    bytearray(host.memory_bytes)


@attempt
def share_more_memory(host: Host) -> None:
    mmap.mmap(-1, 4 * host.memory_bytes).close()


@attempt
def open_more_files(host: Host) -> None:
    with ExitStack() as stack:
        for _ in range(host.open_files):
            stack.enter_context(Path("/dev/null").open("rb"))


@attempt
def write_a_bigger_file(host: Host) -> None:
    path = Path("/tmp/big")
    try:
        path.write_bytes(bytes(host.file_size_bytes + 1))
    finally:
        path.unlink()


@attempt
def fill_the_temporary_folder(host: Host) -> None:
    block = bytes(host.file_size_bytes)
    paths = [Path(f"/tmp/full-{number}") for number in range(256)]
    try:
        for path in paths:
            path.write_bytes(block)
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


def denied_calls(host: Host) -> dict[str, str | None]:
    """Make every call of the filter's list, with arguments that mean nothing."""
    answers: dict[str, str | None] = {}
    for name, number in host.denied.items():
        try:
            call(number, -1, -1, -1, -1, -1, -1)
        except OSError as error:
            answers[name] = errno.errorcode[error.errno or 0]
        else:
            answers[name] = None
    return answers


def outcome(function: Callable[[Host], object], host: Host) -> str | None:
    try:
        function(host)
    except NotThereError:
        return "not there"
    except (MemoryError, ValueError) as error:
        return type(error).__name__
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return None


def main() -> None:
    host = Host(**json.loads(Path(sys.argv[1]).read_text()))
    result = {
        "identity": [os.getuid(), os.getgid(), os.getgroups(), socket.gethostname()],
        "reads": (Path(host.tree_inside) / "file").read_text(),
        "attempts": {name: outcome(function, host) for name, function in attempts.items()},
        "calls": denied_calls(host),
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
