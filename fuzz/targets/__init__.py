"""One file a reader, each with its `TARGET`."""
