"""Real training on rated photographs, and the shipped model: `python -m tools.oasis_study --help`."""
