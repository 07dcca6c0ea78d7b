"""A chosen subnet as a checked file, compared with others, and as a document."""
