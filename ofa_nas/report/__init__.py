"""What a search found as one HTML page that needs nothing beside it, and its main plot as a picture."""
