"""`python -m shoestring`."""

from shoestring.cli.main import entry

entry()
