"""All tables. What the rows mean is said by the entities; stores turn one into the other.

Times are stored in UTC. JSON columns hold text made by msgspec, so that both dialects agree.
"""

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from firsthand.hub.db.columns import UtcDateTime

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

users = Table(
    "users",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(128), nullable=False),
    # The name people sign in with, in lower case; an owner may have none until a password is set.
    Column("login", String(254), unique=True),
    Column("password_hash", Text),
    Column("role", String(16), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column(
        "user_id",
        String(32),
        ForeignKey("users.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
)

sign_in_links = Table(
    "sign_in_links",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime),
)

projects = Table(
    "projects",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("owner_id", String(32), ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("owner_id", "name"),
)

resources = Table(
    "resources",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("project_id", String(32), ForeignKey("projects.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("location", Text, nullable=False),
    Column("ref", String(128)),
    Column("search_paths", Text, nullable=False, default="[]"),
    Column("notes", String(500), nullable=False, default=""),
    # What the instance holds of it: the last checkout and how the last fetch went.
    Column("checkout_id", String(64)),
    Column("commit", String(80)),
    Column("resolved_ref", String(128)),
    Column("committed_at", UtcDateTime),
    Column("fetched_at", UtcDateTime),
    Column("size_bytes", Integer),
    Column("fetch_state", String(16), nullable=False, default="new"),
    Column("fetch_message", Text),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("project_id", "name"),
)

instances = Table(
    "instances",
    metadata,
    Column("id", String(32), primary_key=True),
    Column(
        "user_id",
        String(32),
        ForeignKey("users.id", ondelete="CASCADE"),
        nullable=False,
        unique=True,
    ),
    Column("state", String(16), nullable=False, index=True),
    Column("generation", Integer, nullable=False, default=0),
    Column("step", String(200)),
    # JSON list of {name, startedAt, endedAt} of the operation under way or last ended.
    Column("steps", Text, nullable=False, default="[]"),
    Column("error_message", Text),
    Column("runtime", String(16), nullable=False),
    Column("packages", Text, nullable=False, default="[]"),
    Column("update_available", Boolean, nullable=False, default=False),
    Column("last_version_check", UtcDateTime),
    Column("sandbox_id", String(32), index=True),
    Column("storage_used_bytes", Integer, nullable=False, default=0),
    Column("last_active_at", UtcDateTime),
    Column("state_changed_at", UtcDateTime, nullable=False),
    Column("provisioned_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
)

threads = Table(
    "threads",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("user_id", String(32), ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("project_id", String(32), ForeignKey("projects.id", ondelete="CASCADE"), nullable=False),
    Column("title", String(200), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Index("ix_threads_user_updated", "user_id", "updated_at"),
)

messages = Table(
    "messages",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("thread_id", String(32), ForeignKey("threads.id", ondelete="CASCADE"), nullable=False),
    # Place in the thread, from 1.
    Column("position", Integer, nullable=False),
    Column("role", String(16), nullable=False),
    Column("text", Text, nullable=False, default=""),
    # JSON of an answer's parts once it is complete: reasoning, tools, citations, meta, usage.
    Column("parts", Text),
    Column("run_id", String(32), index=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("completed_at", UtcDateTime),
    UniqueConstraint("thread_id", "position"),
)

runs = Table(
    "runs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column(
        "thread_id",
        String(32),
        ForeignKey("threads.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("user_id", String(32), ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column(
        "question_id", String(32), ForeignKey("messages.id", ondelete="CASCADE"), nullable=False
    ),
    Column("answer_id", String(32), ForeignKey("messages.id", ondelete="CASCADE"), nullable=False),
    Column("state", String(16), nullable=False, index=True),
    # JSON: what to read, [{name, kind, location, ref, searchPaths, notes}], fixed when asked.
    Column("sources", Text, nullable=False),
    # JSON of protocol ModelChoice.
    Column("model", Text, nullable=False),
    # Number of the last journal entry, and of the last event taken from the agent.
    Column("last_number", Integer, nullable=False, default=0),
    Column("agent_number", Integer, nullable=False, default=0),
    Column("cancel_requested_at", UtcDateTime),
    Column("gateway_token_hash", String(64), unique=True),
    Column("error_tag", String(64)),
    Column("error_message", Text),
    Column("error_hint", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
)

run_events = Table(
    "run_events",
    metadata,
    Column("run_id", String(32), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("data", Text, nullable=False),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("user_id", String(32), ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("run_id", String(32), nullable=False),
    # SHA-256 of the request, so that one key cannot stand for two questions.
    Column("request_hash", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

model_calls = Table(
    "model_calls",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column(
        "run_id", String(32), ForeignKey("runs.id", ondelete="CASCADE"), nullable=False, index=True
    ),
    Column("provider", String(64), nullable=False),
    Column("model", String(200), nullable=False),
    Column("input_tokens", Integer, nullable=False),
    Column("output_tokens", Integer, nullable=False),
    Column("reasoning_tokens", Integer, nullable=False),
    Column("cached_tokens", Integer, nullable=False),
    Column("estimated", Boolean, nullable=False),
    Column("status", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)
