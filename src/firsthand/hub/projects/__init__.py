"""What a user asks about: projects, their resources, and the fetching of these.

Above: threads, which ask about resources. Below: the source store, which holds what was fetched.
"""

from firsthand.hub.projects.project import Project
from firsthand.hub.projects.projects import Projects
from firsthand.hub.projects.resource import FetchState, Resource, ResourceSpec

__all__ = ["FetchState", "Project", "Projects", "Resource", "ResourceSpec"]
