"""Global average pooling of signals to one sample."""

from ofa_nas.space.blocks.pool import lower

__all__ = ["AXES", "lower"]

AXES = 1
