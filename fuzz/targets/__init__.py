"""One file per reader, each with its `TARGET`."""
