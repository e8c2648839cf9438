"""The loop that answers, its bounds, and the runs of this process."""
