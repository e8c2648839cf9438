"""The bubblewrap adapter of the sandbox port."""

import contextlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import anyio.to_thread

from firsthand.hub.errors import SettingsError
from firsthand.hub.ids import SandboxId
from firsthand.hub.sandboxes.bubblewrap.command import (
    CHECKOUTS_INSIDE,
    GATEWAY_SOCKET_NAME,
    Places,
    Programs,
    agent_arguments,
    build_command,
    default_agent_command,
)
from firsthand.hub.sandboxes.bubblewrap.home import Home
from firsthand.hub.sandboxes.bubblewrap.host_user import stranger_uid
from firsthand.hub.sandboxes.bubblewrap.incarnation import Descriptors
from firsthand.hub.sandboxes.bubblewrap.keepers import Keepers
from firsthand.hub.sandboxes.bubblewrap.python_runtime import PythonRuntime
from firsthand.hub.sandboxes.bubblewrap.seccomp import compile_filter
from firsthand.hub.sandboxes.bubblewrap.warm_pool import WarmPool
from firsthand.hub.sandboxes.provider import (
    AgentEndpoint,
    SandboxFailed,
    SandboxSpec,
    SandboxState,
)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
# `struct sockaddr_un` has 108 bytes for a path and its end.
_SOCKET_PATH_MAX = 107


class BubblewrapProvider:
    """Sandboxes of one hub, each a folder under `root` (see `Home`).

    `checkouts` is the folder that sandboxes see read-only. `warm` sandboxes are kept started in
    advance. `agent_command` replaces the agent and `readable` adds paths to what a sandbox can
    read; both are for tests and benches.
    """

    name = "bubblewrap"

    def __init__(
        self,
        root: Path,
        *,
        checkouts: Path,
        warm: int = 0,
        agent_command: Sequence[str] | None = None,
        readable: Sequence[Path] = (),
    ) -> None:
        self._root = root.absolute()
        self._checkouts = checkouts.absolute()
        self._programs = Programs.find()
        self._runtime = PythonRuntime.of_this_process()
        self._filter = compile_filter(os.uname().machine)
        self._agent = tuple(agent_command or default_agent_command(self._runtime))
        self._readable = (*self._runtime.folders, *readable)
        self._keepers = Keepers()
        self._prepared = False
        self._pool = WarmPool(self._root / "warm", warm, self._launch)
        longest = self._root / "warm" / ("x" * 8) / ("x" * 24) / "run" / "s"
        if len(os.fsencode(longest)) > _SOCKET_PATH_MAX:
            raise SettingsError(
                f"FIRSTHAND_DATA_DIR is too long: the sockets under {self._root} would have"
                f" paths of more than {_SOCKET_PATH_MAX} bytes.",
                hint="Choose a data folder with a shorter path.",
            )

    async def create(self, spec: SandboxSpec) -> None:
        """Make the sandbox, stopped. Does nothing if it exists with this id."""
        if spec.runtime != "native":
            raise SandboxFailed(
                f"The bubblewrap sandbox cannot run the runtime {spec.runtime!r}.",
                hint="Set FIRSTHAND_RUNTIME=native.",
            )
        await _in_thread(self._home(spec.sandbox_id).write_spec, spec)

    async def start(self, sandbox_id: SandboxId) -> None:
        """Start the agent and return at once. Does nothing if it runs."""
        home = self._home(sandbox_id)
        await home.end_half_claimed()
        self._pool.keep_filled(await _in_thread(self._start, home))

    def _start(self, home: Home) -> SandboxSpec:
        spec = home.read_spec()
        if not home.incarnation.is_alive():
            home.keep_log()
            if not self._pool.claim(spec, home):
                self._launch(home, spec)
        return spec

    def _launch(self, home: Home, spec: SandboxSpec) -> None:
        self._prepare()
        uid = stranger_uid(spec.sandbox_id)
        home.open_gateway_to(uid)

        def command(inherited: Descriptors) -> list[str]:
            places = Places(
                checkouts=self._checkouts,
                gateway=home.gateway,
                listener_fd=inherited.listener,
                info_fd=inherited.info,
                seccomp_fd=inherited.seccomp,
                uid=uid,
            )
            agent = [*self._agent, *agent_arguments(inherited.listener, spec.idle_limit)]
            return build_command(
                self._programs, places, spec.limits, readable=self._readable, agent=agent
            )

        keeper = home.incarnation.start(self._filter, command)
        if keeper is not None:
            self._keepers.add(keeper)

    async def stop(self, sandbox_id: SandboxId) -> None:
        """End every process inside and return when none is left. Does nothing if stopped."""
        home = self._home(sandbox_id)
        try:
            await home.end_half_claimed()
            await home.incarnation.end()
        except OSError as error:
            raise _failed(error) from error
        self._keepers.reap()

    async def destroy(self, sandbox_id: SandboxId) -> None:
        """Stop it and remove all that it had. Does nothing if missing."""
        await self.stop(sandbox_id)
        await _in_thread(self._home(sandbox_id).remove)

    async def state(self, sandbox_id: SandboxId) -> SandboxState:
        """Ask the kernel whether it runs."""
        return await _in_thread(self._state, sandbox_id)

    def _state(self, sandbox_id: SandboxId) -> SandboxState:
        self._keepers.reap()
        home = self._home(sandbox_id)
        if not home.exists:
            return SandboxState.MISSING
        home.incarnation.trim_log()
        return SandboxState.RUNNING if home.incarnation.is_alive() else SandboxState.STOPPED

    async def list_sandboxes(self) -> Mapping[SandboxId, SandboxState]:
        """All sandboxes of this hub's data folder, with their true states."""
        found = await _in_thread(self._list)
        like = await _in_thread(self._any_spec, list(found)) if self._pool.is_idle else None
        self._pool.keep_filled(like)
        return found

    def _any_spec(self, sandbox_ids: Sequence[SandboxId]) -> SandboxSpec | None:
        """After a restart of the hub, any of its sandboxes tells what the next will be like."""
        for sandbox_id in sandbox_ids:
            with contextlib.suppress(SandboxFailed):
                return self._home(sandbox_id).read_spec()
        return None

    def _list(self) -> dict[SandboxId, SandboxState]:
        ids = [SandboxId(spec.parent.name) for spec in sorted(self._root.glob("*/spec.json"))]
        return {sandbox_id: self._state(sandbox_id) for sandbox_id in ids}

    async def endpoint(self, sandbox_id: SandboxId) -> AgentEndpoint:
        """Where the agent listens; a request sent before it does is kept until then."""
        return AgentEndpoint(socket=self._home(sandbox_id).incarnation.socket_path)

    async def gateway_socket(self, sandbox_id: SandboxId) -> Path | None:
        """Where the hub serves the gateway, before or after the start, and again after its own.

        The socket needs mode 0666 (its folder lets only the hub and this sandbox pass): where
        the hub is root, the sandbox is another user of the host.
        """
        gateway = self._home(sandbox_id).gateway
        await _in_thread(lambda: gateway.mkdir(mode=0o700, parents=True, exist_ok=True))
        return gateway / GATEWAY_SOCKET_NAME

    async def storage_bytes(self, sandbox_id: SandboxId) -> int:
        """Disk used by this sandbox alone, shared checkouts not counted."""
        return await _in_thread(self._home(sandbox_id).storage_bytes)

    async def read_log(self, sandbox_id: SandboxId, *, max_bytes: int = 16_384) -> str:
        """The end of what the sandbox's processes printed, kept after they ended."""
        return await _in_thread(self._home(sandbox_id).incarnation.read_log, max_bytes)

    def path_inside(self, tree: Path) -> str:
        """How a path of the shared checkout store is called inside a sandbox."""
        return str(CHECKOUTS_INSIDE / tree.absolute().relative_to(self._checkouts))

    async def close(self) -> None:
        """End what was started in advance, and let go of the sandboxes: they go on running."""
        await self._pool.close()
        self._keepers.let_go()

    def _prepare(self) -> None:
        """Do what is needed once, before the first start."""
        if self._prepared:
            return
        self._checkouts.mkdir(mode=0o311, parents=True, exist_ok=True)
        if self._checkouts.stat().st_mode & 0o444:
            # Names in it are secrets between the hub and the one who asked.
            self._checkouts.chmod(0o311)
        self._runtime.compile()
        self._prepared = True

    def _home(self, sandbox_id: SandboxId) -> Home:
        if not _PLAIN_NAME.fullmatch(sandbox_id):
            raise SandboxFailed(f"{sandbox_id!r} is not the id of a sandbox.")
        return Home(self._root / sandbox_id)


async def _in_thread(fn: Callable[[*Ts], T], *args: *Ts) -> T:
    """Run what touches files and processes beside the event loop."""
    try:
        return await anyio.to_thread.run_sync(fn, *args)
    except OSError as error:
        raise _failed(error) from error


def _failed(error: OSError) -> SandboxFailed:
    return SandboxFailed(f"The host refused: {error}")
