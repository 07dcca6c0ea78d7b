"""Accuracy predictors: samples, fit, report."""
