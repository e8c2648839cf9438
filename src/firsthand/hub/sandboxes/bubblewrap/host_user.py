"""Which user of this host a sandbox's processes are, where the hub is root."""

import hashlib
import os
from pathlib import Path

# systemd's documentation of user ids lists this range as used by nobody.
_FIRST_UID = 1_900_000_000
_UIDS = 1 << 26
_NOBODY = 65534


def stranger_uid(name: str) -> int | None:
    """Return the user to become for `name`, or `None` where the hub itself is an ordinary user.

    Each name has a user of its own, so that no sandbox can touch or count another's processes.
    Inside a container that knows few users, they share "nobody"; where not even that is known,
    the hub is root in name only and there is nobody to become.
    """
    if os.geteuid() != 0:
        return None
    digest = hashlib.sha256(name.encode()).digest()
    for uid in (_FIRST_UID + int.from_bytes(digest[:4], "big") % _UIDS, _NOBODY):
        if _is_mapped(uid):
            return uid
    return None


def _is_mapped(uid: int) -> bool:
    """Read user_namespaces(7): each line is "first inside, first outside, length"."""
    for line in Path("/proc/self/uid_map").read_text().splitlines():
        first, _, length = (int(word) for word in line.split())
        if first <= uid < first + length:
            return True
    return False
