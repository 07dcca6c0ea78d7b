"""A subnet for another task, or with less in it."""
