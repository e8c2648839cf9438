"""The agent: runs inside a sandbox, reads checkouts, talks to the model gateway, trusts nobody."""
