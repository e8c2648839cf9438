"""Where code comes from: git repositories and packages, kept once per host, one tree a commit."""
