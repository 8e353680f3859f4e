"""The second task of a network trained for two (paper eq. 3) as a separate network, scored and measured like any other."""

from __future__ import annotations

from dataclasses import replace

from dcnn_fast.nets.modelfile import Model, network_with


def second_task(model: Model) -> Model:
    """The model's columns, shared, under the label layer of its attributes.

    Args:
        model: A model that has learnt attributes.

    Returns:
        The model of the second task, in evaluation mode; the attributes are its labels.

    Raises:
        ValueError: The model has no attributes.
    """
    net = model.net
    if net.attribute is None:
        raise ValueError("model must have learnt attributes, a second task, got one that has not")
    columns = {name: tensor for name, tensor in net.state_dict().items() if name.startswith("columns.")}
    layer = {f"label.{name}": tensor for name, tensor in net.attribute.state_dict().items()}
    described = replace(net.spec, labels=net.spec.attributes, attributes=())
    return Model(network_with(described, {**columns, **layer}).eval(), model.provenance)
