"""Every error that a user can cause.

OfaNasError
├── ConfigError          a flag, an environment variable or a run setting is wrong
├── FileError            a file is missing, unreadable, or not what it should be
│   ├── SpaceError       a search space file
│   ├── TableError       a latency table, or a table asked for what it does not hold
│   ├── DataError        images, labels, packs
│   ├── RecipeError      a training recipe
│   ├── CheckpointError  a supernet, predictor or training checkpoint
│   └── StudyError       the storage of a measured search, or a study made for something else
├── ArchitectureError    a text is no architecture, or one outside the search space
├── BudgetError          no architecture meets the budgets
├── DeviceError          a device cannot be reached, or refused a model
├── TrainingError        training cannot go on (the loss is not a number)
│   └── LeftAloneError   another of the processes that train together ended
└── VerificationError    an exported file does not compute what the supernet does

A message says where, what was found, and what would be right.
"""


class OfaNasError(Exception):
    """Base of all errors that the command line prints as one line, exit status 1."""


class ConfigError(OfaNasError):
    """A flag, environment variable or setting is wrong."""


class FileError(OfaNasError):
    """A file is missing, unreadable, or not what it should be."""


class SpaceError(FileError):
    """A search space file is wrong."""


class TableError(FileError):
    """A latency table is wrong, or does not hold what it was asked for."""


class DataError(FileError):
    """Images, labels or packs are wrong."""


class RecipeError(FileError):
    """A training recipe is wrong."""


class CheckpointError(FileError):
    """A supernet, predictor or training checkpoint is wrong."""


class StudyError(FileError):
    """The storage of a measured search cannot be used, or its study is of something else."""


class ArchitectureError(OfaNasError):
    """A text is no architecture, or the architecture is outside the search space."""


class BudgetError(OfaNasError):
    """No architecture meets the budgets."""


class DeviceError(OfaNasError):
    """A device cannot be reached, or refused a model."""


class TrainingError(OfaNasError):
    """Training cannot go on."""


class LeftAloneError(TrainingError):
    """Another of the processes that train together ended, and tells why."""


class VerificationError(OfaNasError):
    """An exported file does not compute what the supernet does."""
