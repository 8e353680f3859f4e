"""How the shipped model was made: `python -m tools.default_model --help`."""
