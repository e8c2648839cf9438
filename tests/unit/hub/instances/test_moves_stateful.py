"""Any order of moves, by whoever: a row only ever goes where the table says, and one wins."""

import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import create_engine, insert

from firsthand.hub.db.schema import metadata, users
from firsthand.hub.ids import UserId
from firsthand.hub.instances import store
from firsthand.hub.instances.instance import MOVES, InstanceState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
states = st.sampled_from(InstanceState)


class Moves(RuleBasedStateMachine):
    """One row, and several who remember it from different times."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.engine = create_engine(f"sqlite:///{self.folder / 'db.sqlite'}")
        metadata.create_all(self.engine)
        user = UserId("us_1")
        with self.engine.begin() as connection:
            connection.execute(
                insert(users).values(id=user, name="U", role="owner", created_at=NOW)
            )
            self.id = store.add_instance(connection, user, NOW)
            first = store.get(connection, self.id)
        self.truth = (first.state, first.generation)
        self.memories = [self.truth]

    @rule(to=states, which=st.integers(min_value=0))
    def someone_moves(self, to: InstanceState, which: int) -> None:
        state, generation = self.memories[which % len(self.memories)]
        with self.engine.begin() as connection:
            if to not in MOVES[state]:
                with pytest.raises(store.IllegalMove):
                    self._move(connection, state, generation, to)
                return
            won = self._move(connection, state, generation, to)
        assert won == ((state, generation) == self.truth)
        if won:
            self.truth = (to, generation + 1)
            self.memories.append(self.truth)

    @rule(state=states, generation=st.integers(0, 5), to=states)
    def someone_guesses(self, state: InstanceState, generation: int, to: InstanceState) -> None:
        if to not in MOVES[state] or (state, generation) == self.truth:
            return
        with self.engine.begin() as connection:
            assert not self._move(connection, state, generation, to)

    def _move(
        self,
        connection: store.Connection,
        state: InstanceState,
        generation: int,
        to: InstanceState,
    ) -> bool:
        return store.move(
            connection, self.id, expected=state, generation=generation, to=to, now=NOW
        )

    @invariant()
    def the_row_is_where_the_winners_left_it(self) -> None:
        with self.engine.connect() as connection:
            row = store.get(connection, self.id)
        assert (row.state, row.generation) == self.truth

    def teardown(self) -> None:
        self.engine.dispose()
        shutil.rmtree(self.folder)


TestMoves = Moves.TestCase
TestMoves.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
