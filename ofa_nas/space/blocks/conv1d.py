"""A convolution along one axis, with optional batch norm and activation: stems and heads for signals."""

from ofa_nas.space.blocks.conv import lower

__all__ = ["AXES", "lower"]

AXES = 1
