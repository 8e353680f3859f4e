"""Parts that the block's GPU backends share: tables of their launches, and the choice of the one predicted to be faster."""
