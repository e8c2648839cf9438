"""Who wants to know that something changed. Carries no data: readers read the database again."""

from firsthand.hub.feeds.wakeups import Feeds, Subscription

__all__ = ["Feeds", "Subscription"]
