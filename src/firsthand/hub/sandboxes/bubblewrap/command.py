"""What a sandbox is made of, as the command line that makes it.

Three layers, outermost first:

1. only where the hub is root: a bubblewrap that makes the needed folders reachable, and
   `setpriv`, which becomes a user that owns nothing on this host. From there on nothing is root;
2. the keeper, a shell that does nothing but wait. It holds the incarnation's lock, and what is
   inside of it dies with it: bubblewrap's `--die-with-parent` needs a parent other than the hub,
   and one of the same user, or the kernel would not deliver the signal;
3. bubblewrap proper, then `prlimit`, then the agent as process 1 of its own world.
"""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path, PurePosixPath

from firsthand.hub.errors import SettingsError
from firsthand.hub.sandboxes.bubblewrap.python_runtime import PythonRuntime
from firsthand.hub.sandboxes.provider import SandboxLimits

CHECKOUTS_INSIDE = PurePosixPath("/checkouts")
GATEWAY_INSIDE = PurePosixPath("/run/gateway")
GATEWAY_SOCKET_NAME = "s"

_UID_INSIDE = "65534"
_TMP = "/tmp"  # noqa: S108 - the sandbox's own, nobody else's
_TMP_BYTES = 64 * 1024 * 1024
_DEVICES = ("null", "zero", "full", "random", "urandom")
# The system's libraries and the few programs that start the agent. Where the host has symbolic
# links for them (merged /usr), the sandbox has the same links.
_SYSTEM = ("/usr/lib", "/usr/lib64", "/usr/bin", "/bin", "/lib", "/lib64", "/etc/ld.so.cache")
_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": _TMP,
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    # Each arena reserves address space, of which a sandbox has a bounded amount.
    "MALLOC_ARENA_MAX": "2",
}


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the programs are that make a sandbox."""

    bwrap: str
    setpriv: str
    prlimit: str
    shell: str

    @classmethod
    def find(cls) -> "Programs":
        """Look them up on the hub's PATH. Raises `SettingsError` naming what is missing."""
        found = {name: shutil.which(name) for name in ("bwrap", "setpriv", "prlimit", "sh")}
        missing = [name for name, path in found.items() if path is None]
        if missing:
            raise SettingsError(
                f"FIRSTHAND_SANDBOX=bubblewrap needs {', '.join(missing)} on this host.",
                hint="On Debian: apt install bubblewrap util-linux",
            )
        return cls(*(str(found[name]) for name in ("bwrap", "setpriv", "prlimit", "sh")))


@dataclass(frozen=True, slots=True)
class Places:
    """Folders and descriptors of this host that one incarnation is given.

    `uid` is the user on the host to become, `None` to stay what the hub is.
    """

    checkouts: Path
    gateway: Path
    listener_fd: int
    info_fd: int
    seccomp_fd: int
    uid: int | None


@dataclass(frozen=True, slots=True)
class _Bind:
    source: str
    target: str
    device: bool = False

    def words(self, *, inner: bool) -> list[str]:
        option = "--dev-bind" if self.device else "--ro-bind"
        return [option, self.target if inner else self.source, self.target]


def default_agent_command(runtime: PythonRuntime) -> tuple[str, ...]:
    """Start our agent, deaf to environment and working folder, and writing no bytecode."""
    return (str(runtime.executable), "-I", "-B", "-m", "firsthand.agent")


def agent_arguments(listener_fd: int, idle_limit: timedelta) -> list[str]:
    """Return the words that every agent command is called with."""
    return [
        "--socket",
        f"fd:{listener_fd}",
        "--gateway",
        str(GATEWAY_INSIDE / GATEWAY_SOCKET_NAME),
        "--checkouts",
        str(CHECKOUTS_INSIDE),
        "--idle-seconds",
        str(idle_limit.total_seconds()),
    ]


def build_command(
    programs: Programs,
    places: Places,
    limits: SandboxLimits,
    *,
    readable: Sequence[Path],
    agent: Sequence[str],
) -> list[str]:
    """Return the whole command line; `agent` is what runs inside, arguments included."""
    used = (programs.bwrap, programs.prlimit, programs.shell, programs.setpriv)
    binds = _binds(places, [*readable, *map(Path, used)])
    keeper = [programs.shell, "-c", '"$@" </dev/null; exit $?', "firsthand-sandbox"]
    as_stranger: list[str] = []
    if places.uid is not None:
        as_stranger = _become_stranger(programs, places.uid, binds)
    return [
        *as_stranger,
        *keeper,
        *_inner(programs, places, binds, inner=places.uid is not None),
        "--",
        *_limited(programs, limits),
        *agent,
    ]


def _binds(places: Places, readable: Sequence[Path]) -> list[_Bind]:
    binds = [
        _Bind(path, path) for path in _SYSTEM if Path(path).exists() and not Path(path).is_symlink()
    ]
    binds += [_Bind(str(path), str(path)) for path in readable if not _covered(path, binds)]
    binds += [_Bind(f"/dev/{name}", f"/dev/{name}", device=True) for name in _DEVICES]
    binds.append(_Bind(str(places.checkouts), str(CHECKOUTS_INSIDE)))
    binds.append(_Bind(str(places.gateway), str(GATEWAY_INSIDE)))
    return binds


def _covered(path: Path, binds: Iterable[_Bind]) -> bool:
    return any(path.is_relative_to(bind.target) for bind in binds)


def _file_tree(binds: Sequence[_Bind], *, inner: bool) -> list[str]:
    """Folders first: bubblewrap would make the missing ones for their owner alone."""
    parents = {parent for bind in binds for parent in PurePosixPath(bind.target).parents}
    words: list[str] = []
    for parent in sorted(parents - {PurePosixPath("/"), PurePosixPath(_TMP)}):
        words += ["--perms", "0755", "--dir", str(parent)]
    for bind in binds:
        words += bind.words(inner=inner)
    for path in _SYSTEM:
        if Path(path).is_symlink():
            words += ["--symlink", str(Path(path).readlink()), path]
    return words


def _become_stranger(programs: Programs, uid: int, binds: Sequence[_Bind]) -> list[str]:
    return [
        programs.bwrap,
        # The inner bubblewrap works with both of these, and hides them again.
        *("--perms", "0755", "--dir", _TMP),
        *("--dev-bind", "/proc", "/proc"),
        *_file_tree(binds, inner=False),
        "--",
        programs.setpriv,
        *("--reuid", str(uid), "--regid", str(uid), "--clear-groups"),
        *("--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--"),
    ]


def _inner(programs: Programs, places: Places, binds: Sequence[_Bind], *, inner: bool) -> list[str]:
    environment = [word for pair in _ENVIRONMENT.items() for word in ("--setenv", *pair)]
    return [
        programs.bwrap,
        "--die-with-parent",
        "--as-pid-1",
        "--unshare-all",
        # Not tried as with --unshare-all but insisted on; and none can be made inside.
        *("--unshare-user", "--unshare-cgroup", "--disable-userns"),
        *("--uid", _UID_INSIDE, "--gid", _UID_INSIDE),
        *("--cap-drop", "ALL"),
        *("--hostname", "sandbox"),
        *("--proc", "/proc"),
        # Before the rest: Python may well be installed somewhere below /tmp.
        *("--size", str(_TMP_BYTES), "--tmpfs", _TMP),
        *_file_tree(binds, inner=inner),
        *("--remount-ro", "/"),
        *("--chdir", _TMP),
        "--clearenv",
        *environment,
        *("--seccomp", str(places.seccomp_fd)),
        *("--info-fd", str(places.info_fd)),
    ]


def _limited(programs: Programs, limits: SandboxLimits) -> list[str]:
    """Limits are set inside, so that processes are counted per sandbox and not per user."""
    return [
        programs.prlimit,
        f"--nproc={limits.processes}",
        f"--data={limits.memory_bytes}",
        # Files that are mapped to be read need addresses, not memory.
        f"--as={4 * limits.memory_bytes}",
        f"--nofile={limits.open_files}",
        f"--fsize={limits.file_size_bytes}",
        "--core=0",
        "--memlock=0",
        "--",
    ]
