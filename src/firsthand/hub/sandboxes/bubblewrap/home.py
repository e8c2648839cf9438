"""The folder of one sandbox, and what lies where in it."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import msgspec

from firsthand.hub.sandboxes.bubblewrap.command import GATEWAY_SOCKET_NAME
from firsthand.hub.sandboxes.bubblewrap.incarnation import Incarnation
from firsthand.hub.sandboxes.provider import SandboxFailed, SandboxSpec


@dataclass(frozen=True, slots=True)
class Home:
    """`spec.json` (the sandbox exists while this does), `gateway/` (where the hub makes the
    gateway's socket), `run/` (the present or last incarnation), `previous.log` (of the one before)
    and, for a moment, `claim/` (a member of the warm pool that is becoming this sandbox).
    """

    folder: Path

    @property
    def incarnation(self) -> Incarnation:
        """The present or last life of the sandbox."""
        return Incarnation(self.folder / "run")

    @property
    def gateway(self) -> Path:
        """The one folder that sandbox and hub share."""
        return self.folder / "gateway"

    @property
    def claim(self) -> "Home":
        """Where a member of the warm pool lies while it is being adopted."""
        return Home(self.folder / "claim")

    @property
    def exists(self) -> bool:
        """Tell whether the sandbox was made and not removed."""
        return (self.folder / "spec.json").exists()

    def write_spec(self, spec: SandboxSpec) -> None:
        """Make the sandbox, all or nothing. Does nothing if it exists."""
        if self.exists:
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self.folder / "spec.draft"
        draft.write_bytes(msgspec.json.encode(spec))
        draft.replace(self.folder / "spec.json")

    def read_spec(self) -> SandboxSpec:
        """Return what the sandbox was made as. Raises `SandboxFailed`."""
        name = self.folder.name
        try:
            content = (self.folder / "spec.json").read_bytes()
            return msgspec.json.decode(content, type=SandboxSpec)
        except FileNotFoundError as error:
            raise SandboxFailed(
                f"The sandbox {name} does not exist.", hint="Provision the instance again."
            ) from error
        except msgspec.MsgspecError as error:
            raise SandboxFailed(
                f"The record of the sandbox {name} cannot be read: {error}",
                hint="Reset the instance.",
            ) from error

    def open_gateway_to(self, uid: int | None) -> None:
        """Let a stranger of this host through to the names he knows; nobody else, no listing."""
        self.gateway.mkdir(mode=0o700, parents=True, exist_ok=True)
        if uid is not None:
            os.chown(self.gateway, -1, uid)
            self.gateway.chmod(0o710)

    def keep_log(self) -> None:
        """Put the log of the last incarnation aside, before there is a new one."""
        if self.incarnation.log.exists():
            self.incarnation.trim_log()
            self.incarnation.log.replace(self.folder / "previous.log")

    def adopt_claim(self) -> None:
        """Make the claimed member this sandbox's incarnation.

        Both lives are folders on one file system. Mounts and bound sockets follow a rename, so
        the hub may serve the gateway before this as well as after it.
        """
        served = self.gateway / GATEWAY_SOCKET_NAME
        if served.exists():
            served.rename(self.claim.gateway / GATEWAY_SOCKET_NAME)
        shutil.rmtree(self.gateway, ignore_errors=True)
        self.claim.gateway.rename(self.gateway)
        shutil.rmtree(self.incarnation.folder, ignore_errors=True)
        self.claim.incarnation.folder.rename(self.incarnation.folder)
        self.claim.folder.rmdir()

    async def end_half_claimed(self) -> None:
        """End a member whose adoption was cut short by the end of the hub."""
        if self.claim.folder.exists():
            await self.claim.incarnation.end()
            shutil.rmtree(self.claim.folder)

    def storage_bytes(self) -> int:
        """Return what it takes on disk."""
        # st_blocks is in units of 512 bytes, whatever the file system's own are (stat(2)).
        return sum(path.lstat().st_blocks * 512 for path in self.folder.rglob("*"))

    def remove(self) -> None:
        """Remove it with all that it holds; nothing may run in it."""
        if not self.folder.exists():
            return
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "spec.json":
                path.unlink()
        # Last, so that a removal that was interrupted is seen and done again.
        (self.folder / "spec.json").unlink(missing_ok=True)
        self.folder.rmdir()
