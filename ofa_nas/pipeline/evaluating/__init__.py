"""Accuracy for real: images, and what a subnet makes of them."""
