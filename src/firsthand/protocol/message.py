"""The common ground of every message on the wire: frozen, camelCase, strict about types."""

import msgspec


class Message(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A JSON object exchanged between hub and agent; unknown fields are ignored when read."""
