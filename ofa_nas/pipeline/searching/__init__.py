"""What is asked of a search, estimated, searched, and looked at again by evidence."""
