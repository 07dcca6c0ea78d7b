"""Search spaces, architectures, and what they cost. Nothing here imports torch."""
