"""The names of things that can change."""

from typing import NewType

from firsthand.hub.ids import InstanceId, ProjectId, RunId, ThreadId, UserId

Topic = NewType("Topic", str)


def user_topic(user_id: UserId) -> Topic:
    """Return the topic of a user: their account and their list of threads."""
    return Topic(f"user:{user_id}")


def instance_topic(instance_id: InstanceId) -> Topic:
    """Return the topic of an instance: its state and step."""
    return Topic(f"instance:{instance_id}")


def project_topic(project_id: ProjectId) -> Topic:
    """Return the topic of a project: its resources and their fetching."""
    return Topic(f"project:{project_id}")


def thread_topic(thread_id: ThreadId) -> Topic:
    """Return the topic of a thread: its messages and its title."""
    return Topic(f"thread:{thread_id}")


def run_topic(run_id: RunId) -> Topic:
    """Return the topic of a run: its state and its journal."""
    return Topic(f"run:{run_id}")
