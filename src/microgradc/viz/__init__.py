"""Pictures: graphs of Values, with Graphviz, matplotlib or as text; what a model has learnt, and how."""

from microgradc.viz.boxes import draw_graph
from microgradc.viz.dot import draw_dot
from microgradc.viz.graph import format_graph
from microgradc.viz.training import plot_decision_boundary, plot_history

__all__ = ["draw_dot", "draw_graph", "format_graph", "plot_decision_boundary", "plot_history"]
