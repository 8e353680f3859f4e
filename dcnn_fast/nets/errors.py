"""Errors in model files and in networks' weights."""


class ModelError(ValueError):
    """A model file cannot be used; the message names the file, the rule and the value found."""


class WeightsError(ValueError):
    """A network's weights are not, or no longer, usable; the message says why and what to do."""
