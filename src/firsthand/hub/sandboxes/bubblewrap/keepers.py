"""The outermost processes of the sandboxes that this hub started, which are its children."""

import subprocess
import threading


class Keepers:
    """Children to be reaped when they end. Those that an earlier hub started are not among them.

    Used from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: list[subprocess.Popen[bytes]] = []

    def add(self, keeper: "subprocess.Popen[bytes]") -> None:
        """Remember a child."""
        with self._lock:
            self._running.append(keeper)

    def reap(self) -> None:
        """Forget the children that have ended, and let the kernel forget them."""
        with self._lock:
            self._running = [keeper for keeper in self._running if keeper.poll() is None]

    def let_go(self) -> None:
        """Leave those that still run to whoever comes after this hub."""
        self.reap()
        with self._lock:
            for keeper in self._running:
                # Otherwise Popen warns of a child that lives longer than we: it is meant to.
                keeper.returncode = 0
            self._running.clear()
