"""Parts that the block's GPU backends share: tables of their launches, and which of them is predicted to be faster."""
