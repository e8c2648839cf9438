"""Sandboxes as bubblewrap processes on this host, without a daemon.

One sandbox is one folder. Each start makes an incarnation: a process tree of its own session,
which outlives the hub and is found again by the next one through a file lock (`incarnation.py`).

What stays outside is decided by two things: `command.py` says which files and namespaces a
sandbox has, `seccomp.py` and `syscalls.py` say which doors of the kernel are shut.

The limits are resource limits of the kernel. Processes are counted per sandbox; memory is
bounded per process, because bounding it for all processes together takes a control group, and
most hosts give an ordinary user none. An operator who needs that bound starts the hub in a
control group with `MemoryMax` (systemd: `systemd-run --user -p MemoryMax=8G firsthand serve`).
"""
