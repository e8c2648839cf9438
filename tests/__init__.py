"""Tests of Firsthand; the folder says which question is asked."""
