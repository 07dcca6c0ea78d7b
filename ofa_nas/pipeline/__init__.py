"""Where the rooms are joined, for commands and for programs; its own rooms stand on floors, too."""
