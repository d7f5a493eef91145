"""Tools that find a wrong derivative: differences, PyTorch next to microgradc, and who is to blame."""

from microgradc.checking.compare import Comparison, compare_with_torch
from microgradc.checking.gradcheck import GradcheckError, gradcheck

__all__ = ["Comparison", "GradcheckError", "compare_with_torch", "gradcheck"]
