"""`python -m firsthand.agent`."""

from firsthand.agent.app import main

main()
