"""The averaged generator alone, for other places: a file of orthogan, a graph of ONNX, a folder for the hub."""

from orthogan.exporting.folder import write_folder
from orthogan.exporting.graph import check_graph, write_graph
from orthogan.exporting.weights import write_weights

__all__ = ["check_graph", "write_folder", "write_graph", "write_weights"]
