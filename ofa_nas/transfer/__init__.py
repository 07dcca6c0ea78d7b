"""Tiny transfer learning: a subnet learns another task, in little memory that is counted and measured."""
