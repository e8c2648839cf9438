"""Who acts now, and what they may do. Only `identity` mints principals."""

from dataclasses import dataclass
from enum import StrEnum

from firsthand.hub.errors import NotAllowed
from firsthand.hub.ids import UserId


class Role(StrEnum):
    """What a user is to this hub."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"


class Scope(StrEnum):
    """One kind of thing that a credential allows."""

    READ = "read"
    ASK = "ask"
    MANAGE = "manage"  # resources, projects and the own instance
    ADMIN = "admin"  # users and the hub itself


_OF_ROLE = {
    Role.OWNER: frozenset(Scope),
    Role.ADMIN: frozenset(Scope),
    Role.MEMBER: frozenset({Scope.READ, Scope.ASK, Scope.MANAGE}),
}


def scopes_of(role: Role) -> frozenset[Scope]:
    """Return what a role may do at most."""
    return _OF_ROLE[role]


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated user with what their credential allows. Having one is the proof."""

    user_id: UserId
    name: str
    role: Role
    scopes: frozenset[Scope]

    def require(self, scope: Scope) -> None:
        """Raise `NotAllowed` unless the credential allows `scope`."""
        if scope not in self.scopes:
            raise NotAllowed(
                f"This needs the scope {scope!r}, which the credential does not have.",
                hint="Ask an owner or administrator of this hub.",
            )
