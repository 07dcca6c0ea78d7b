"""The supernet: shared weights of every architecture of a space, and what is done to them."""
