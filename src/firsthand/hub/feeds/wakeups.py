"""Wake-ups inside one process: who subscribed to a topic learns that it changed.

A subscription keeps the set of topics that changed since it last looked. A set cannot overflow,
so a slow reader loses nothing and a publisher never waits. Publish after the commit.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, suppress

from firsthand.hub.feeds.topics import Topic


class Subscription:
    """One reader's view on some topics. Made by `Feeds.subscribe`, used by one task."""

    def __init__(self, topics: frozenset[Topic]) -> None:
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._changed: set[Topic] = set()
        self.topics = topics

    async def changed(self) -> frozenset[Topic]:
        """Wait until something changed since the last call, and return what."""
        await self._wake.wait()
        self._wake.clear()
        changed = frozenset(self._changed)
        self._changed.clear()
        return changed

    def mark(self, topic: Topic) -> None:
        """Note a change; called by `Feeds` on the reader's own loop."""
        self._changed.add(topic)
        self._wake.set()

    def mark_from_anywhere(self, topic: Topic) -> None:
        """Note a change, from whichever thread; a reader whose loop has ended hears nothing."""
        if _running_loop() is self._loop:
            self.mark(topic)
        else:
            with suppress(RuntimeError):  # the reader's loop is closed
                self._loop.call_soon_threadsafe(self.mark, topic)


class Feeds:
    """All subscriptions of this process. `publish` may be called from any thread."""

    def __init__(self) -> None:
        # Sets are replaced, never changed, so that publishing needs no lock.
        self._readers: dict[Topic, frozenset[Subscription]] = {}
        self._lock = threading.Lock()

    def publish(self, topics: Iterable[Topic]) -> None:
        """Tell every reader of these topics. Never waits."""
        for topic in topics:
            for reader in self._readers.get(topic, ()):
                reader.mark_from_anywhere(topic)

    @asynccontextmanager
    async def subscribe(self, topics: Iterable[Topic]) -> AsyncGenerator[Subscription]:
        """Hear of changes from now until the context ends.

        Subscribe first and read the database then: what changes in between is heard of.
        """
        subscription = Subscription(frozenset(topics))
        self._add(subscription)
        try:
            yield subscription
        finally:
            self._remove(subscription)

    def topics(self) -> frozenset[Topic]:
        """Return the topics that somebody reads."""
        return frozenset(self._readers)

    def _add(self, subscription: Subscription) -> None:
        with self._lock:
            for topic in subscription.topics:
                self._readers[topic] = self._readers.get(topic, frozenset()) | {subscription}

    def _remove(self, subscription: Subscription) -> None:
        with self._lock:
            for topic in subscription.topics:
                left = self._readers[topic] - {subscription}
                if left:
                    self._readers[topic] = left
                else:
                    del self._readers[topic]


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
