"""`python -m firsthand.sources.index TREE INDEX` builds an index and prints what is in it."""

import argparse
import sys
from pathlib import Path

import msgspec

from firsthand.sources.index.build import build_index


def main() -> int:
    """Build the index named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m firsthand.sources.index", description=__doc__)
    parser.add_argument("tree", type=Path, help="folder of files to index; it is only read")
    parser.add_argument("index", type=Path, help="folder to write; must be empty or not exist")
    given = parser.parse_args()
    stats = build_index(given.tree, given.index)
    sys.stdout.write(msgspec.json.encode(stats).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
