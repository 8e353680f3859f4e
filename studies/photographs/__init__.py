"""Accuracy of `dcnn_fast.photographs` on real photographs: faults and near-duplicates."""
