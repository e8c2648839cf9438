"""What the gateway reads of a run by its token, and the calls that it counts."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select

from firsthand.hub.db.schema import instances, model_calls, runs
from firsthand.hub.ids import RunId, SandboxId
from firsthand.hub.model_gateway.dialects import TokenCount
from firsthand.hub.model_gateway.provider import ModelProvider


@dataclass(frozen=True, slots=True)
class TokenOwner:
    """The unfinished run that a gateway token belongs to, and the sandbox it runs in."""

    run_id: RunId
    sandbox_id: SandboxId | None


def get_token_owner(conn: Connection, token_hash: str) -> TokenOwner | None:
    """Return the run of this token, or `None` when there is none or it has ended."""
    row = conn.execute(
        select(runs.c.id, instances.c.sandbox_id)
        .join(instances, instances.c.user_id == runs.c.user_id)
        .where(runs.c.gateway_token_hash == token_hash, runs.c.ended_at.is_(None))
    ).one_or_none()
    return None if row is None else TokenOwner(row.id, row.sandbox_id)


def add_model_call(
    conn: Connection,
    owner: TokenOwner,
    provider: ModelProvider,
    tokens: TokenCount,
    *,
    status: int,
    now: datetime,
) -> None:
    """Record one call with the tokens that it cost."""
    conn.execute(
        insert(model_calls).values(
            run_id=owner.run_id,
            provider=provider.name,
            model=provider.model,
            input_tokens=tokens.input_tokens,
            output_tokens=tokens.output_tokens,
            reasoning_tokens=tokens.reasoning_tokens,
            cached_tokens=tokens.cached_tokens,
            estimated=not tokens.seen,
            status=status,
            created_at=now,
        )
    )
