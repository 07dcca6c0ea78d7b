"""Where the rooms are joined: device tables, the search itself, and the file that leaves."""
