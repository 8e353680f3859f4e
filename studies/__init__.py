"""Studies: what was trained and measured, each a package with one command."""
