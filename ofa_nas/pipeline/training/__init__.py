"""Trainings as a command or a program starts them."""
