"""The command line; nothing heavy is imported before arguments are parsed."""
