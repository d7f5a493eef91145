"""What must be an error to mypy and to pyright: a comment that silences nothing is an error as well.

Nothing here is ever run.
"""

import microgradc as mg
from microgradc import Value, nn, optim

model = nn.MLP(2, [4, 1])
a = Value("1.0")  # type: ignore[arg-type]
b = Value(1.0) + "1"  # type: ignore[operator]
c: int = Value(1.0).data  # type: ignore[assignment]
Value(1.0).backwards()  # type: ignore[attr-defined]
Value(1.0)._prev = set()  # type: ignore[misc]
mg.exp("1")  # type: ignore[call-overload]
mg.array({"w": 1.0})  # type: ignore[arg-type]
nn.MLP(2, 4)  # type: ignore[arg-type]
nn.MLP(2, [4, 1], activaton="tanh")  # type: ignore[call-arg]
nn.Layer(2, 3, activaton="tanh")  # type: ignore[call-arg]
nn.Sequential(nn.Layer(2, 3), 4)  # type: ignore[arg-type]
model.fit([[1.0, 2.0]], [1.0], epoch=3)  # type: ignore[call-arg]
model.fit([[1.0, 2.0]], [1.0], epochs="3")  # type: ignore[arg-type]
model.fit([[1.0, 2.0]], [1.0], schedule_every="batch")  # type: ignore[arg-type]
model.fit(None, [1.0])  # type: ignore[arg-type]
model.vector("gradients")  # type: ignore[arg-type]
model.train("yes")  # type: ignore[arg-type]
optim.SGD(0.1)  # type: ignore[arg-type]
optim.Adam(model.parameters(), learning_rate=0.1)  # type: ignore[call-arg]
mg.mse_loss([Value(1.0)], [1.0], reduction="average")  # type: ignore[call-overload]
mg.make_moons("100")  # type: ignore[arg-type]
mg.scan(lambda carry, x: (carry, x), 1.0, keep="log")  # type: ignore[call-overload]
mg.grad(3.0)  # type: ignore[call-overload]
mg.load_model(3)  # type: ignore[arg-type]


@mg.compile
def square(x: float) -> Value:
    return Value(x) ** 2


mg.compile(square, statics=())  # type: ignore[call-overload]
square()  # type: ignore[call-overload]
square("1.0")  # type: ignore[call-overload]
square(y=1.0)  # type: ignore[call-overload]
square(1.0).numpy()  # type: ignore[attr-defined]


@mg.no_grad()
def shown(x: float) -> str:
    return str(x)


shown("1.0")  # type: ignore[arg-type]
