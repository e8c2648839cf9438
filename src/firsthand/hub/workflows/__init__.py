"""Durable work: what was started is carried to its end, across crashes and restarts of the hub.

`engine.py` knows DBOS and is the only module that does; `steps.py` bounds one step by time and
number of tries. What the work is belongs to those who register it.
"""

from firsthand.hub.workflows.engine import Workflows
from firsthand.hub.workflows.steps import StepFailed, StepLimit, run_step

__all__ = ["StepFailed", "StepLimit", "Workflows", "run_step"]
