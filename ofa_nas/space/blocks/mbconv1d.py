"""Inverted residual along one axis, with a depthwise kernel of 1 x k: the block for signals."""

from ofa_nas.space.blocks.mbconv import lower

__all__ = ["AXES", "lower"]

AXES = 1
