"""The shipped model: how it is trained, and how well it does on photographs that training never saw."""
