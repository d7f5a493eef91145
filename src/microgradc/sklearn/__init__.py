"""Estimators for scikit-learn: networks with the names and defaults of `sklearn.neural_network`; any scalar function.

They are what scikit-learn's tools take: pipelines, searches, cross-validation, `clone`. They need scikit-learn:
`pip install 'microgradc[sklearn]'`. Nothing else of microgradc imports it.
"""

try:
    import sklearn as _sklearn  # noqa: F401
except ImportError as _error:
    raise ImportError("microgradc.sklearn needs scikit-learn: pip install 'microgradc[sklearn]'") from _error

from microgradc.sklearn.networks import MLPClassifier, MLPRegressor
from microgradc.sklearn.scalar import ScalarRegressor

__all__ = ["MLPClassifier", "MLPRegressor", "ScalarRegressor"]
