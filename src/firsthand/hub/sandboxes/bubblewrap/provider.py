"""The bubblewrap adapter of the sandbox port."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import anyio.to_thread
import msgspec

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
from firsthand.hub.sandboxes.bubblewrap.host_user import stranger_uid
from firsthand.hub.sandboxes.bubblewrap.incarnation import Descriptors, Incarnation
from firsthand.hub.sandboxes.bubblewrap.python_runtime import PythonRuntime
from firsthand.hub.sandboxes.bubblewrap.seccomp import compile_filter
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
    """Sandboxes of one hub, each a folder under `root`.

    A sandbox's folder holds `spec.json` (it exists while this does), `gateway/` (where the hub
    makes the gateway's socket), `run/` (the present or last incarnation) and the log of the one
    before. `checkouts` is the folder that sandboxes see read-only. `agent_command` replaces the
    agent and `readable` adds paths to what a sandbox can read; both are for tests and benches.
    """

    name = "bubblewrap"

    def __init__(
        self,
        root: Path,
        *,
        checkouts: Path,
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
        self._keepers: list[subprocess.Popen[bytes]] = []
        self._prepared = False
        longest = self._root / ("x" * 23) / "run" / "s"
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
        await self._in_thread(self._create, spec)

    def _create(self, spec: SandboxSpec) -> None:
        home = self._home(spec.sandbox_id)
        if (home / "spec.json").exists():
            return
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = home / "spec.draft"
        draft.write_bytes(msgspec.json.encode(spec))
        draft.replace(home / "spec.json")

    async def start(self, sandbox_id: SandboxId) -> None:
        """Start the agent and return at once. Does nothing if it runs."""
        await self._in_thread(self._start, sandbox_id)

    def _start(self, sandbox_id: SandboxId) -> None:
        spec = self._spec(sandbox_id)
        incarnation = self._incarnation(sandbox_id)
        if incarnation.is_alive():
            return
        self._prepare()
        home = self._home(sandbox_id)
        if incarnation.log.exists():
            incarnation.trim_log()
            incarnation.log.replace(home / "previous.log")
        self._launch(incarnation, home / "gateway", spec)

    def _launch(self, incarnation: Incarnation, gateway: Path, spec: SandboxSpec) -> None:
        uid = stranger_uid(spec.sandbox_id)
        gateway.mkdir(mode=0o700, exist_ok=True)
        if uid is not None:
            # The sandbox may pass through, to a name that it knows; nobody else may.
            os.chown(gateway, -1, uid)
            gateway.chmod(0o710)

        def command(inherited: Descriptors) -> list[str]:
            places = Places(
                checkouts=self._checkouts,
                gateway=gateway,
                listener_fd=inherited.listener,
                info_fd=inherited.info,
                seccomp_fd=inherited.seccomp,
                uid=uid,
            )
            agent = [*self._agent, *agent_arguments(inherited.listener, spec.idle_limit)]
            return build_command(
                self._programs, places, spec.limits, readable=self._readable, agent=agent
            )

        keeper = incarnation.start(self._filter, command)
        if keeper is not None:
            self._keepers.append(keeper)

    async def stop(self, sandbox_id: SandboxId) -> None:
        """End every process inside and return when none is left. Does nothing if stopped."""
        try:
            await self._incarnation(sandbox_id).end()
        except OSError as error:
            raise _failed(error) from error
        self._reap()

    async def destroy(self, sandbox_id: SandboxId) -> None:
        """Stop it and remove all that it had. Does nothing if missing."""
        await self.stop(sandbox_id)
        await self._in_thread(self._remove, self._home(sandbox_id))

    def _remove(self, home: Path) -> None:
        if not home.exists():
            return
        for path in home.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "spec.json":
                path.unlink()
        # Last, so that a removal that was interrupted is seen and done again.
        (home / "spec.json").unlink(missing_ok=True)
        home.rmdir()

    async def state(self, sandbox_id: SandboxId) -> SandboxState:
        """Ask the kernel whether it runs."""
        return await self._in_thread(self._state, sandbox_id)

    def _state(self, sandbox_id: SandboxId) -> SandboxState:
        self._reap()
        if not (self._home(sandbox_id) / "spec.json").exists():
            return SandboxState.MISSING
        incarnation = self._incarnation(sandbox_id)
        incarnation.trim_log()
        return SandboxState.RUNNING if incarnation.is_alive() else SandboxState.STOPPED

    async def list_sandboxes(self) -> Mapping[SandboxId, SandboxState]:
        """All sandboxes of this hub's data folder, with their true states."""
        return await self._in_thread(self._list)

    def _list(self) -> dict[SandboxId, SandboxState]:
        ids = [SandboxId(spec.parent.name) for spec in sorted(self._root.glob("*/spec.json"))]
        return {sandbox_id: self._state(sandbox_id) for sandbox_id in ids}

    async def endpoint(self, sandbox_id: SandboxId) -> AgentEndpoint:
        """Where the agent listens; a request sent before it does is kept until then."""
        return AgentEndpoint(socket=self._incarnation(sandbox_id).socket_path)

    async def gateway_socket(self, sandbox_id: SandboxId) -> Path | None:
        """Where the hub serves the gateway, before or after the start, and again after its own.

        The socket needs mode 0666 (its folder lets only the hub and this sandbox pass): where
        the hub is root, the sandbox is another user of the host.
        """
        gateway = self._home(sandbox_id) / "gateway"
        await self._in_thread(lambda: gateway.mkdir(mode=0o710, parents=True, exist_ok=True))
        return gateway / GATEWAY_SOCKET_NAME

    async def storage_bytes(self, sandbox_id: SandboxId) -> int:
        """Disk used by this sandbox alone, shared checkouts not counted."""
        return await self._in_thread(self._storage_bytes, sandbox_id)

    def _storage_bytes(self, sandbox_id: SandboxId) -> int:
        paths = self._home(sandbox_id).rglob("*")
        # st_blocks is in units of 512 bytes, whatever the file system's own are (stat(2)).
        return sum(path.lstat().st_blocks * 512 for path in paths)

    async def read_log(self, sandbox_id: SandboxId, *, max_bytes: int = 16_384) -> str:
        """The end of what the sandbox's processes printed, kept after they ended."""
        return await self._in_thread(self._incarnation(sandbox_id).read_log, max_bytes)

    def path_inside(self, tree: Path) -> str:
        """How a path of the shared checkout store is called inside a sandbox."""
        return str(CHECKOUTS_INSIDE / tree.absolute().relative_to(self._checkouts))

    async def close(self) -> None:
        """Let go of the sandboxes; they go on running."""
        self._reap()
        for keeper in self._keepers:
            # Otherwise Popen warns of a child that lives longer than we: it is meant to.
            keeper.returncode = 0
        self._keepers.clear()

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

    def _reap(self) -> None:
        self._keepers = [keeper for keeper in self._keepers if keeper.poll() is None]

    def _home(self, sandbox_id: SandboxId) -> Path:
        if not _PLAIN_NAME.fullmatch(sandbox_id):
            raise SandboxFailed(f"{sandbox_id!r} is not the id of a sandbox.")
        return self._root / sandbox_id

    def _incarnation(self, sandbox_id: SandboxId) -> Incarnation:
        return Incarnation(self._home(sandbox_id) / "run")

    def _spec(self, sandbox_id: SandboxId) -> SandboxSpec:
        try:
            content = (self._home(sandbox_id) / "spec.json").read_bytes()
            return msgspec.json.decode(content, type=SandboxSpec)
        except FileNotFoundError as error:
            raise SandboxFailed(
                f"The sandbox {sandbox_id} does not exist.", hint="Provision the instance again."
            ) from error
        except msgspec.MsgspecError as error:
            raise SandboxFailed(
                f"The record of the sandbox {sandbox_id} cannot be read: {error}",
                hint="Reset the instance.",
            ) from error

    async def _in_thread(self, fn: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run what touches files and processes beside the event loop."""
        try:
            return await anyio.to_thread.run_sync(fn, *args)
        except OSError as error:
            raise _failed(error) from error


def _failed(error: OSError) -> SandboxFailed:
    return SandboxFailed(f"The host refused: {error}")
