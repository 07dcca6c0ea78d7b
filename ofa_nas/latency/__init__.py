"""What a network takes on a device: measured tables, and a model of boards that nobody here could measure."""
