"""The command `dcnn-fast`, one file a subcommand."""
