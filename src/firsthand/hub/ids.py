"""Ids and tokens: opaque strings with a type of their own each, and all randomness of the hub.

An id starts with two letters that tell people what it is; programs must not rely on them.
"""

import hashlib
import secrets
from typing import NewType

UserId = NewType("UserId", str)
SessionId = NewType("SessionId", str)
ProjectId = NewType("ProjectId", str)
ResourceId = NewType("ResourceId", str)
InstanceId = NewType("InstanceId", str)
SandboxId = NewType("SandboxId", str)
ThreadId = NewType("ThreadId", str)
MessageId = NewType("MessageId", str)
RunId = NewType("RunId", str)

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def _new(prefix: str) -> str:
    # 20 characters of 5 bits: 100 bits, beyond guessing and beyond collision.
    return prefix + "_" + "".join(secrets.choice(_ALPHABET) for _ in range(20))


def new_user_id() -> UserId:
    """Return a fresh id."""
    return UserId(_new("us"))


def new_project_id() -> ProjectId:
    """Return a fresh id."""
    return ProjectId(_new("pr"))


def new_resource_id() -> ResourceId:
    """Return a fresh id."""
    return ResourceId(_new("re"))


def new_instance_id() -> InstanceId:
    """Return a fresh id."""
    return InstanceId(_new("in"))


def new_sandbox_id() -> SandboxId:
    """Return a fresh id."""
    return SandboxId(_new("sb"))


def new_thread_id() -> ThreadId:
    """Return a fresh id."""
    return ThreadId(_new("th"))


def new_message_id() -> MessageId:
    """Return a fresh id."""
    return MessageId(_new("me"))


def new_run_id() -> RunId:
    """Return a fresh id."""
    return RunId(_new("ru"))


def new_token() -> str:
    """Return 256 bits of randomness in URL-safe form, for sessions, links and gateways."""
    return secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """Return what is stored of a token. Tokens are random, so a plain SHA-256 is enough."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
