"""Limits on what people send, as `contract.md` of the design names them. Checked at every door."""

RESOURCE_NAME_CHARS = 64
REF_CHARS = 128
SEARCH_PATH_CHARS = 256
NOTES_CHARS = 500
QUESTION_CHARS = 100_000
RESOURCES_PER_QUESTION = 20
