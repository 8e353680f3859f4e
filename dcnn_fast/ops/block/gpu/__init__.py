"""What the block's GPU backends have in common: tables of their launches, and which of them is predicted to be faster."""
