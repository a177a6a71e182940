"""The command line: thin, and quick to answer, because nothing heavy is imported before arguments are parsed."""
