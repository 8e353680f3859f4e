"""Studies of training and measuring, each a package with one command."""
