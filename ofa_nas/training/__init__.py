"""Train a supernet, evaluate its subnets, collect samples for a predictor."""
