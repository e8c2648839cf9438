"""The table of moves of an instance, and what may begin where."""

import pytest

from firsthand.hub.instances.instance import (
    BEGINS_IN,
    MOVES,
    PASSES_THROUGH,
    PASSING_STATES,
    InstanceState,
    Operation,
    describe,
)

S = InstanceState


def test_the_table_is_that_of_the_contract() -> None:
    assert {str(a): {str(b) for b in to} for a, to in MOVES.items()} == {
        "unprovisioned": {"provisioning"},
        "provisioning": {"stopped", "running", "error"},
        "stopped": {"starting", "updating", "provisioning"},
        "starting": {"running", "error"},
        "running": {"stopping", "updating", "error"},
        "stopping": {"stopped", "error"},
        "updating": {"running", "stopped", "error"},
        "error": {"starting", "provisioning", "stopping"},
    }


@pytest.mark.parametrize("operation", Operation)
def test_operations_begin_only_where_the_table_lets_them(operation: Operation) -> None:
    for state in BEGINS_IN[operation]:
        assert PASSES_THROUGH[operation] in MOVES[state]


def test_passing_states_can_end_well_and_badly() -> None:
    for state in PASSING_STATES:
        assert S.ERROR in MOVES[state]
        assert MOVES[state] & {S.RUNNING, S.STOPPED}


@pytest.mark.parametrize("state", InstanceState)
def test_every_state_has_words_and_a_way_on(state: InstanceState) -> None:
    assert describe(state)
    assert MOVES[state]
