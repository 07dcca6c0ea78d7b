"""Latency tables of devices: found, measured, held against fresh networks."""
