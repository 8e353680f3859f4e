"""The command `dcnn-fast`, with a file for each subcommand."""
