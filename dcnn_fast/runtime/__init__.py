"""Executing networks: from planes and plans to probabilities."""
