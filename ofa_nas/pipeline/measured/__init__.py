"""Searches in which a trial is a real measurement, on several machines."""
