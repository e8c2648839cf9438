"""The hub: accounts, instances, threads, runs and pages. Runs outside every sandbox."""
