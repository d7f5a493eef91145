"""no_grad where the code that enters a block does not run in one go: generators, coroutines, threads."""

import asyncio
import contextlib
import copy
import gc
import inspect
import pickle
import threading

import pytest

from microgradc import Value, no_grad
from microgradc.engine import EnableGrad

X = Value(2.0)


def enabled():
    return bool((X * 3)._children)


def paused():
    with no_grad():
        while True:
            yield enabled()


def test_a_suspended_generator_leaves_its_caller_alone():
    it = paused()
    for _ in range(3):
        assert next(it) is False
        assert enabled()
    it.close()
    assert enabled()


def test_a_block_around_holds_in_what_it_resumes():
    def plain():
        while True:
            yield enabled()

    it = plain()
    assert next(it) is True
    with no_grad():
        assert next(it) is False
    assert next(it) is True


def test_generators_in_generators():
    def outer():
        yield from paused()

    def around():
        with no_grad():
            it = iter(range(2))
            yield from (enabled() for _ in it)

    it = outer()
    assert next(it) is False
    assert enabled()
    assert list(around()) == [False, False]


def test_several_blocks_that_are_left_in_another_order():
    first, second = no_grad(), no_grad()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not enabled()
    second.__exit__(None, None, None)
    assert enabled()
    with pytest.raises(RuntimeError, match="left more often than entered"):
        first.__exit__(None, None, None)
    with first, first:
        assert not enabled()
    assert enabled()


def test_context_managers_made_from_generators_are_for_their_caller():
    @contextlib.contextmanager
    def evaluating():
        with no_grad():
            yield

    @contextlib.contextmanager
    def twice():
        with evaluating():
            yield

    def generator():
        with twice():
            yield enabled()

    with evaluating():
        assert not enabled()
    with twice():
        assert not enabled()
    assert enabled()
    with contextlib.ExitStack() as stack:
        stack.enter_context(evaluating())
        stack.enter_context(no_grad())
        assert not enabled()
    assert enabled()
    it = generator()
    assert next(it) is False
    assert enabled()
    it.close()

    @evaluating()
    def decorated():
        return enabled()

    assert decorated() is False


def test_a_helper_that_enters_for_its_caller():
    block = no_grad()

    def enter():
        block.__enter__()

    def generator():
        enter()
        yield enabled()
        block.__exit__(None, None, None)
        yield enabled()

    enter()
    assert not enabled()
    block.__exit__(None, None, None)
    it = generator()
    assert next(it) is False
    assert enabled()
    assert next(it) is True


def test_one_object_in_two_generators():
    block = no_grad()

    def generator():
        with block:
            yield enabled()
        yield enabled()

    first, second = generator(), generator()
    assert (next(first), next(second)) == (False, False)
    assert next(first) is True
    assert enabled()
    assert next(second) is True


def test_decorated_functions_are_of_the_same_kind():
    @no_grad()
    def generator(n):
        for _ in range(n):
            got = yield enabled()
            assert got in (None, "sent")
        return "returned"

    @no_grad
    async def coroutine():
        await asyncio.sleep(0)
        return enabled()

    @no_grad()
    async def agen():
        try:
            got = yield enabled()
            assert got == "sent"
            yield enabled()
        except ValueError as error:
            yield str(error)

    class Model:
        @no_grad()
        def predict(self, x):
            return x * 2, self

    assert inspect.isgeneratorfunction(generator)
    assert inspect.iscoroutinefunction(coroutine)
    assert inspect.isasyncgenfunction(agen)
    it = generator(2)
    assert next(it) is False
    assert enabled()
    assert it.send("sent") is False
    with pytest.raises(StopIteration) as stopped:
        next(it)
    assert stopped.value.value == "returned"
    assert asyncio.run(coroutine()) is False

    async def drive():
        it = agen()
        assert await anext(it) is False
        assert enabled()
        assert await it.asend("sent") is False
        assert await it.athrow(ValueError("thrown")) == "thrown"
        with pytest.raises(StopAsyncIteration):
            await anext(it)
        it = agen()
        await anext(it)
        await it.aclose()
        assert enabled()
        return [flag async for flag in agen_of_two()]

    @no_grad
    async def agen_of_two():
        yield enabled()
        yield enabled()

    assert asyncio.run(drive()) == [False, False]
    model = Model()
    y, self = model.predict(X)
    assert y._children == ()
    assert self is model


def test_tasks_do_not_reach_each_other():
    seen = []

    async def evaluate():
        with no_grad():
            for _ in range(5):
                await asyncio.sleep(0)
                seen.append(("evaluate", enabled()))

    async def train():
        for _ in range(5):
            await asyncio.sleep(0)
            seen.append(("train", enabled()))

    @contextlib.asynccontextmanager
    async def block():
        with no_grad():
            yield

    async def managed():
        async with contextlib.AsyncExitStack() as stack, block():
            await stack.enter_async_context(block())
            for _ in range(5):
                await asyncio.sleep(0)
                seen.append(("managed", enabled()))

    async def main():
        await asyncio.gather(evaluate(), train(), managed(), train())

    asyncio.run(main())
    assert set(seen) == {("evaluate", False), ("managed", False), ("train", True)}
    with no_grad():
        asyncio.run(main())
    assert ("train", False) in seen
    assert enabled()


def test_generators_that_go_to_another_thread():
    def in_thread(f):
        found = []
        thread = threading.Thread(target=lambda: found.append(f()))
        thread.start()
        thread.join()
        return found[0]

    box = [paused()]
    next(box[0])
    assert in_thread(lambda: (next(box[0]), enabled())) == (False, True)
    in_thread(lambda: (box.clear(), gc.collect()))
    assert enabled()

    @contextlib.contextmanager
    def block():
        with no_grad():
            yield

    entered = block()
    entered.__enter__()
    assert in_thread(enabled)
    assert not enabled()
    in_thread(lambda: entered.__exit__(None, None, None))
    assert enabled()


def test_a_block_that_nobody_leaves_ends_with_its_generator():
    def generator():
        no_grad().__enter__()
        yield enabled()

    for _ in range(3):
        assert list(generator()) == [False]
        assert enabled()


# EnableGrad


def keeps_graphs():
    return bool((Value(2.0) * 1)._prev)


def test_gradients_can_be_enabled_within_blocks():
    with no_grad():
        with EnableGrad():
            assert keeps_graphs()
            with no_grad():
                assert not keeps_graphs()
                with EnableGrad():
                    assert keeps_graphs()
                assert not keeps_graphs()
            assert keeps_graphs()
        assert not keeps_graphs()
        with pytest.raises(KeyError), EnableGrad():
            raise KeyError("within")
        assert not keeps_graphs()
    assert keeps_graphs()


def test_gradients_are_enabled_in_a_function_that_a_generator_calls():
    def trained():
        with EnableGrad():
            first = keeps_graphs()
            with no_grad():
                return first, keeps_graphs()

    def generator():
        with no_grad():
            yield trained()
            yield keeps_graphs()

    running = generator()
    assert next(running) == (True, False)
    assert keeps_graphs()
    assert next(running) is False


def test_gradients_are_enabled_for_one_thread():
    found = []
    with no_grad(), EnableGrad():
        def other():
            with no_grad():
                found.append(keeps_graphs())

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert keeps_graphs()
    assert found == [False]


def test_enabled_gradients_are_not_for_who_resumes_a_generator():
    def generator():
        with EnableGrad():
            yield

    async def coroutine():
        with EnableGrad():
            pass

    with no_grad():
        with pytest.raises(RuntimeError, match="in a generator or coroutine"):
            next(generator())
        with pytest.raises(RuntimeError, match="in a generator or coroutine"):
            asyncio.run(coroutine())
        assert not keeps_graphs()


def test_an_enable_grad_is_entered_once_and_left_in_order():
    first, second = EnableGrad(), EnableGrad()
    with no_grad():
        with pytest.raises(RuntimeError, match="is left by"):
            first.__exit__()
        first.__enter__()
        with pytest.raises(RuntimeError, match="once at a time"):
            first.__enter__()
        second.__enter__()
        with pytest.raises(RuntimeError, match="the last one first"):
            first.__exit__()
        failed = []

        def leave():
            try:
                second.__exit__()
            except RuntimeError as error:
                failed.append(str(error))

        thread = threading.Thread(target=leave)
        thread.start()
        thread.join()
        assert len(failed) == 1
        assert keeps_graphs()
        second.__exit__()
        first.__exit__()
        assert not keeps_graphs()
        with first:
            assert keeps_graphs()
    assert keeps_graphs()


def test_a_no_grad_can_be_copied():
    block = no_grad()
    with block:
        for other in (copy.copy(block), copy.deepcopy(block), pickle.loads(pickle.dumps(block))):
            with other:
                assert not keeps_graphs()
            with pytest.raises(RuntimeError, match="more often than entered"):
                other.__exit__(None, None, None)
        assert not keeps_graphs()
    assert keeps_graphs()


WITHOUT_MEMORY = """
import _testcapi
from microgradc import Value, no_grad
x = Value(2.0)
def tripled():
    return x * 3
def blocked():
    with no_grad():
        yield
        while True:
            yield attempt(tripled)      # CPython 3.12 crashes where there is no memory to make a function
def attempt(f):
    try:
        return f()
    except MemoryError:
        return None
generator = blocked()
next(generator)
def enter_and_leave():
    inside = blocked()
    next(inside)
    inside.close()
wrong, failed = [], 0
for start in range(60):
    for name, call in (("outside", tripled), ("inside", lambda: next(generator)), ("entry", enter_and_leave)):
        _testcapi.set_nomemory(start, start + 1)
        try:
            result = call()
        except MemoryError:
            result, failed = None, failed + 1
        except StopIteration:       # the generator itself was ended by a MemoryError
            result = None
        finally:
            _testcapi.remove_mem_hooks()
        if name == "outside" and result is not None and not result._prev:
            wrong.append((name, start))
        if generator.gi_frame is None:
            generator = blocked()
            next(generator)
    assert (x * 3)._prev
assert not wrong, wrong
assert failed
"""


def test_memory_errors_leave_the_blocks_in_order(run_python):
    pytest.importorskip("_testcapi", reason="this Python has no _testcapi to inject MemoryError with")
    run_python(WITHOUT_MEMORY)


LEFT_WITHOUT_MEMORY = """
import _testcapi
import microgradc
from microgradc import Value, detect_anomaly, no_grad
x = Value(0.0)
kept = [(i, i, i) for i in range(5000)]     # so that no tuple of three waits to be used again
for block in (no_grad, detect_anomaly):
    for failing in (1, 2, 5):
        try:
            with block():
                _testcapi.set_nomemory(0, failing)
        except MemoryError:
            pass
        finally:
            _testcapi.remove_mem_hooks()
        assert (x * 3)._prev, (block, failing)
        x.log()     # which is not finite
"""


def test_a_block_is_left_without_memory(run_python):
    pytest.importorskip("_testcapi", reason="this Python has no _testcapi to inject MemoryError with")
    run_python(LEFT_WITHOUT_MEMORY)


def test_a_suspended_generator_with_a_block_costs_others_nothing():
    def generator():
        with no_grad():
            yield

    suspended = [generator() for _ in range(5)]
    for g in suspended:
        next(g)
    assert keeps_graphs()
    for g in suspended:
        g.close()
    assert keeps_graphs()
