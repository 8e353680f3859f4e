"""How often what `dcnn_fast.photographs` says of real photographs is right: faults, and photographs that show the same."""
