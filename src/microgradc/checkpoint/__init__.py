"""Files of numbers, and of whole models, in the safetensors format. Nothing in such a file is run when it is loaded."""

from microgradc.checkpoint.models import load_model
from microgradc.checkpoint.states import load, save

__all__ = ["load", "load_model", "save"]
