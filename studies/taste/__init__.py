"""The shipped model: its training, and its performance on photographs not seen in training."""
