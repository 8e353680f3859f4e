"""Networks on torch, and their model files."""

from dcnn_fast import former
from dcnn_fast.nets.backbone import BackboneColumn
from dcnn_fast.nets.column import AnyColumn, Block, Column
from dcnn_fast.nets.convnet_checkpoint import ConvNetCheckpoint, import_convnet
from dcnn_fast.nets.convnet_rules import initialise, parameter_groups
from dcnn_fast.nets.efficientnet import import_lite, lite_column
from dcnn_fast.nets.errors import ModelError, WeightsError
from dcnn_fast.nets.foreign import Regularised
from dcnn_fast.nets.graph import GraphColumn
from dcnn_fast.nets.importing import import_torchvision_alexnet
from dcnn_fast.nets.initial import freeze, load_columns, shaped_as
from dcnn_fast.nets.kept import keeping_means
from dcnn_fast.nets.modelfile import Model, is_model_file, load_model, network_with, save_model
from dcnn_fast.nets.network import Input, MultiColumn, build
from dcnn_fast.nets.percentiles import Percentiles
from dcnn_fast.nets.second_task import second_task
from dcnn_fast.nets.semantic import for_another_task, import_column
from dcnn_fast.nets.squeezenet import import_squeezenet
from dcnn_fast.nets.weights import weights_of

__all__ = [
    "AnyColumn", "BackboneColumn", "Block", "Column", "ConvNetCheckpoint", "GraphColumn", "Input", "Model", "ModelError",
    "MultiColumn", "Percentiles", "Regularised", "WeightsError", "build", "for_another_task", "freeze", "import_column",
    "import_convnet", "import_lite", "import_squeezenet", "import_torchvision_alexnet", "initialise", "is_model_file",
    "keeping_means", "lite_column", "load_columns", "load_model", "network_with", "parameter_groups", "save_model",
    "second_task", "shaped_as", "weights_of",
]  # fmt: skip

__getattr__ = former.names(__name__, {"Reference": "Percentiles"})
