"""Pages that need nothing beside them: HTML from values, and the one style of all pages."""
