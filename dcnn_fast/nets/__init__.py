"""Networks on torch, and their model files."""

from dcnn_fast.nets.column import Block, Column
from dcnn_fast.nets.convnet_checkpoint import ConvNetCheckpoint, import_convnet
from dcnn_fast.nets.convnet_rules import initialise, parameter_groups
from dcnn_fast.nets.foreign import Regularised
from dcnn_fast.nets.importing import import_torchvision_alexnet
from dcnn_fast.nets.initial import freeze, load_columns
from dcnn_fast.nets.modelfile import Model, ModelError, load_model, save_model
from dcnn_fast.nets.network import Input, MultiColumn, build
from dcnn_fast.nets.squeezenet import import_squeezenet

__all__ = [
    "Block", "Column", "ConvNetCheckpoint", "Input", "Model", "ModelError", "MultiColumn", "Regularised", "build", "freeze",
    "import_convnet", "import_squeezenet", "import_torchvision_alexnet", "initialise", "load_columns", "load_model",
    "parameter_groups", "save_model",
]  # fmt: skip
