"""Search over any predictor and any costs: callables only, everything minimised, numpy only."""
