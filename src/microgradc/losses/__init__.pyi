"""Loss functions, named and called as in `torch.nn.functional`: their types. See the functions for the rest."""

# A loss of Values is a Value, and one of numbers a float. Where the numbers of one argument and the Values of another
# meet, in arrays, and with reduction="none", which gives nested lists, it depends on the arguments.

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias, TypeVar, overload

from numpy.typing import ArrayLike

from microgradc.engine import Value

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cosine_similarity",
    "cross_entropy",
    "gaussian_nll_loss",
    "hinge_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "mse_loss",
    "nll_loss",
    "poisson_nll_loss",
    "smooth_l1_loss",
]

Reduction: TypeAlias = Literal["mean", "sum", "none"]
_Whole: TypeAlias = Literal["mean", "sum"]
_N = TypeVar("_N", Value, float)
_Of: TypeAlias = _N | Iterable[_N] | Iterable[Iterable[_N]]
_Any: TypeAlias = ArrayLike | Value | Iterable[Any]
_Weight: TypeAlias = _Any | None

@overload
def binary_cross_entropy(
    input: _Of[_N], target: ArrayLike, weight: ArrayLike | None = None, reduction: _Whole = "mean"
) -> _N: ...
@overload
def binary_cross_entropy(input: _Any, target: _Any, weight: _Weight = None, reduction: Reduction = "mean") -> Any: ...

@overload
def binary_cross_entropy_with_logits(
    input: _Of[_N],
    target: ArrayLike,
    weight: ArrayLike | None = None,
    reduction: _Whole = "mean",
    pos_weight: ArrayLike | None = None,
) -> _N: ...
@overload
def binary_cross_entropy_with_logits(
    input: _Any, target: _Any, weight: _Weight = None, reduction: Reduction = "mean", pos_weight: _Weight = None
) -> Any: ...

def cosine_similarity(x1: _Any, x2: _Any, dim: int = 1, eps: float = 1e-8) -> Any: ...

@overload
def cross_entropy(
    input: _Of[_N],
    target: ArrayLike,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: _Whole = "mean",
    label_smoothing: float = 0.0,
) -> _N: ...
@overload
def cross_entropy(
    input: _Any,
    target: _Any,
    weight: _Weight = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
) -> Any: ...

@overload
def gaussian_nll_loss(
    input: _Of[_N], target: ArrayLike, var: ArrayLike, full: bool = False, eps: float = 1e-6, reduction: _Whole = "mean"
) -> _N: ...
@overload
def gaussian_nll_loss(
    input: _Any, target: _Any, var: _Any, full: bool = False, eps: float = 1e-6, reduction: Reduction = "mean"
) -> Any: ...

@overload
def hinge_loss(input: _Of[_N], target: ArrayLike, reduction: _Whole = "mean", margin: float = 1.0) -> _N: ...
@overload
def hinge_loss(input: _Any, target: _Any, reduction: Reduction = "mean", margin: float = 1.0) -> Any: ...

@overload
def huber_loss(
    input: _Of[_N], target: ArrayLike, reduction: _Whole = "mean", delta: float = 1.0, weight: ArrayLike | None = None
) -> _N: ...
@overload
def huber_loss(
    input: _Any, target: _Any, reduction: Reduction = "mean", delta: float = 1.0, weight: _Weight = None
) -> Any: ...

@overload
def kl_div(
    input: _Of[_N], target: ArrayLike, reduction: _Whole | Literal["batchmean"] = "mean", log_target: bool = False
) -> _N: ...
@overload
def kl_div(
    input: _Any, target: _Any, reduction: Reduction | Literal["batchmean"] = "mean", log_target: bool = False
) -> Any: ...

@overload
def l1_loss(input: _Of[_N], target: ArrayLike, reduction: _Whole = "mean", weight: ArrayLike | None = None) -> _N: ...
@overload
def l1_loss(input: _Any, target: _Any, reduction: Reduction = "mean", weight: _Weight = None) -> Any: ...

@overload
def mse_loss(input: _Of[_N], target: ArrayLike, reduction: _Whole = "mean", weight: ArrayLike | None = None) -> _N: ...
@overload
def mse_loss(input: _Any, target: _Any, reduction: Reduction = "mean", weight: _Weight = None) -> Any: ...

@overload
def nll_loss(
    input: _Of[_N],
    target: ArrayLike,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: _Whole = "mean",
) -> _N: ...
@overload
def nll_loss(
    input: _Any, target: _Any, weight: _Weight = None, ignore_index: int = -100, reduction: Reduction = "mean"
) -> Any: ...

@overload
def poisson_nll_loss(
    input: _Of[_N],
    target: ArrayLike,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: _Whole = "mean",
) -> _N: ...
@overload
def poisson_nll_loss(
    input: _Any,
    target: _Any,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: Reduction = "mean",
) -> Any: ...

@overload
def smooth_l1_loss(input: _Of[_N], target: ArrayLike, reduction: _Whole = "mean", beta: float = 1.0) -> _N: ...
@overload
def smooth_l1_loss(input: _Any, target: _Any, reduction: Reduction = "mean", beta: float = 1.0) -> Any: ...
