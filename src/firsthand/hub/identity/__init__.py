"""Who acts now: accounts, sessions, and the principal that every use case takes."""

from firsthand.hub.identity.identity import Identity
from firsthand.hub.identity.principal import Principal, Role, Scope

__all__ = ["Identity", "Principal", "Role", "Scope"]
