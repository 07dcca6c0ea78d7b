"""The whole way by one file."""
