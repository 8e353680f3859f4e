"""The paper's kinds of networks, small, trained on rated photographs: `python -m tools.oasis_study --help`."""
