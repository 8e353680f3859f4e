"""Networks as data: layers, blocks, columns, the paper's presets, and costs."""

from dcnn_fast.networks import bounds
from dcnn_fast.networks.as_dict import network_from_dict, network_to_dict
from dcnn_fast.networks.backbone import BackboneColumn
from dcnn_fast.networks.compact import compact
from dcnn_fast.networks.convnet_cfg import Reading, parse_convnet_cfg, read_convnet_cfg
from dcnn_fast.networks.convnet_cfg_write import preprocessing_of, write_convnet_cfg
from dcnn_fast.networks.convnet_layer import ConvNetError, Preprocessing, preprocessing
from dcnn_fast.networks.convnet_rules import InputRule, LayerRule
from dcnn_fast.networks.cost import LayerCost, column_costs
from dcnn_fast.networks.graph import GraphColumn
from dcnn_fast.networks.layers import (
    ORDERS,
    REDUCTIONS,
    ROUNDINGS,
    VIEWS,
    Block,
    Column,
    CrossMapNorm,
    Norm,
    Order,
    Pool,
    PoolKind,
    Reduce,
    Rounding,
    SameMapNorm,
    View,
    require_choice,
    require_window,
    window_count,
)
from dcnn_fast.networks.network import AnyColumn, Network
from dcnn_fast.networks.presets import (
    GEOMETRIES,
    STYLES,
    Geometry,
    alexnet_column,
    preset,
    preset_names,
    table_column,
    torchvision_alexnet_column,
)
from dcnn_fast.networks.squeezenet import squeezenet_column

__all__ = [
    "GEOMETRIES",
    "ORDERS",
    "REDUCTIONS",
    "ROUNDINGS",
    "STYLES",
    "VIEWS",
    "AnyColumn",
    "BackboneColumn",
    "Block",
    "Column",
    "ConvNetError",
    "CrossMapNorm",
    "Geometry",
    "GraphColumn",
    "InputRule",
    "LayerCost",
    "LayerRule",
    "Network",
    "Norm",
    "Order",
    "Pool",
    "PoolKind",
    "Preprocessing",
    "Reading",
    "Reduce",
    "Rounding",
    "SameMapNorm",
    "View",
    "alexnet_column",
    "bounds",
    "column_costs",
    "compact",
    "network_from_dict",
    "network_to_dict",
    "parse_convnet_cfg",
    "preprocessing",
    "preprocessing_of",
    "preset",
    "preset_names",
    "read_convnet_cfg",
    "require_choice",
    "require_window",
    "squeezenet_column",
    "table_column",
    "torchvision_alexnet_column",
    "window_count",
    "write_convnet_cfg",
]
