"""The paper's kinds of networks, small, trained on rated photographs: `python -m studies.oasis --help`."""
