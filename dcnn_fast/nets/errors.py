"""Errors in a model file, or in a network's weights."""


class ModelError(ValueError):
    """A model file that cannot be used; the message names the file, the rule and what came."""


class WeightsError(ValueError):
    """A network's weights are not, or no longer, what can be used; the message says why and what to do."""
