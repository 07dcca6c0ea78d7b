"""Pruning: weights that become zero, by lottery tickets, and channels that are cut out."""
