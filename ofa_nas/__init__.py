"""Hardware-aware neural architecture search."""
