"""Errors that teach: where, why, and what to do, in one line.

Every error that a user can cause is an `AltGradError`. It also derives from the built-in error that callers would
catch (`ValueError`, `KeyError`, ...), so library users need not import this module. The command line prints it as
`altgrad: error: <where>: <why>. <what to do>` and exits with status 2.
"""


class AltGradError(Exception):
    """An error that the user can mend.

    Args:
        where: What was being read or done, for example a config key, a file or a module's dotted name.
        why: What was given and why it cannot be taken, without a final period.
        what_to_do: What is allowed, or the next step, as a sentence without its final period.
    """

    def __init__(self, where: str, why: str, what_to_do: str) -> None:
        super().__init__(where, why, what_to_do)
        self.where = where
        self.why = why
        self.what_to_do = what_to_do

    def __str__(self) -> str:
        """Return the error as one line."""
        return " ".join(f"{self.where}: {self.why}. {self.what_to_do}.".split())


class FormatError(AltGradError, ValueError):
    """A number format that cannot exist, or an operation that the format does not have."""


class UnknownFormatError(AltGradError, KeyError):
    """A format name that is not in the catalogue."""


class PlanError(AltGradError, ValueError):
    """A precision plan that does not fit the model."""


class UnsupportedModuleError(AltGradError, TypeError):
    """A module whose weights cannot be quantized faithfully."""


class OptimizerError(AltGradError, ValueError):
    """An optimizer setting outside its range."""


class ConfigError(AltGradError, ValueError):
    """A study or run configuration that is not valid."""


class CorpusError(AltGradError, ValueError):
    """A corpus that cannot be read, or that is too small for the run."""


class TokenizerError(AltGradError, ValueError):
    """A tokenizer that is not available or whose files do not match their hashes."""


class NetworkError(AltGradError, ConnectionError):
    """Something that needs the network, where there is none."""


class DeviceError(AltGradError, RuntimeError):
    """A device that was asked for and is absent."""


class CheckpointError(AltGradError, RuntimeError):
    """A checkpoint that cannot be read or written."""


class MismatchError(AltGradError, RuntimeError):
    """Files on disk that belong to another config, corpus, revision or environment."""


class LockedError(AltGradError, RuntimeError):
    """A run that another process is working on."""


class TableError(AltGradError, ValueError):
    """A table that is missing, damaged or not of its schema."""


class ReportError(AltGradError, ValueError):
    """A report or figure that does not exist or cannot be made from the tables given."""


class ModelError(AltGradError, ValueError):
    """A model's shape, or an input, that it cannot take."""


class NotSupportedError(AltGradError, NotImplementedError):
    """Something that this version does not do."""
