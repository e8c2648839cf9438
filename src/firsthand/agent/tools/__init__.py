"""What a model may do: read and search the checkouts of its run, and nothing else."""
