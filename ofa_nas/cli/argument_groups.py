"""What arguments are added to: a parser, or a titled group of its help."""

import argparse

Arguments = argparse.ArgumentParser | argparse._ArgumentGroup  # noqa: SLF001 - argparse names its groups so
