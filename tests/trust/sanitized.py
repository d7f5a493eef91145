"""Tests and scenarios in copies that are built with a sanitizer of gcc.

- address: no byte is read or written that is not there, or not any more. Free places of slabs are out of bounds too
  (engine/slab.h).
- undefined: nothing is done that C leaves undefined.
"""

from typing import NamedTuple

from .building import build, preloaded, run_scenarios, run_tests
from .findings import Findings


class Sanitizer(NamedTuple):
    library: str
    flags: tuple
    settings: dict  # of the environment


SANITIZERS = {
    "address": Sanitizer(
        "libasan.so",
        ("-fsanitize=address", "-fno-omit-frame-pointer"),
        {
            # CPython frees little when it ends: what is alive then says nothing.
            "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:handle_segv=1:detect_stack_use_after_return=0",
            "PYTHONMALLOC": "malloc",
        },
    ),
    # Division by 0.0 is IEEE 754's; float-cast-overflow is looked at, for C leaves it undefined.
    "undefined": Sanitizer(
        "libubsan.so",
        ("-fsanitize=undefined,float-cast-overflow", "-fno-sanitize-recover=all"),
        {"UBSAN_OPTIONS": "print_stacktrace=1"},
    ),
}
# Tests of what is C, the most telling first.
FILES = [
    "program/test_one.py",
    "program/test_train.py",
    "engine/test_hooks.py",
    "engine/test_slab.py",
    "program/test_scan_steps.py",
    "program/test_program_calls.py",
    "program/test_program.py",
    "engine/test_reentrancy.py",
    "program/test_train_places.py",
    "train/test_training_in_c.py",
    "program/test_scan_derivatives.py",
    "program/test_scan_files.py",
    "program/test_lanes.py",
    "program/test_lowering.py",
    "engine/test_memory.py",
    "program/test_share.py",
    "program/test_partial.py",
    "program/test_pickle.py",
    "program/test_function_file.py",
    "program/test_graph.py",
    "program/test_select.py",
    "program/test_several_outputs.py",
    "program/test_map.py",
    "program/test_low_level.py",
    "program/test_plan.py",
    "program/test_order.py",
    "program/test_latest.py",
    "program/test_vmath.py",
    "program/test_integers.py",
    "program/test_replaced.py",
    "program/test_scan.py",
    "program/test_compile.py",
    "program/test_arguments.py",
    "program/test_calculus.py",
    "program/test_deriving.py",
    "engine/test_contract.py",
    "engine/test_copying.py",
    "engine/test_custom.py",
    "engine/test_attributes.py",
    "engine/test_anomaly.py",
    "engine/test_no_grad.py",
    "engine/test_bad_input.py",
    "engine/test_wide.py",
    "engine/test_depth.py",
    "engine/test_students.py",
    "engine/test_conversions.py",
    "nn/test_module.py",
    "nn/test_nn.py",
    "nn/test_vector.py",
    "nn/test_layer_plan.py",
    "optim/test_optim_errors.py",
    "test_derivatives.py",
    "test_arrays.py",
    "test_trees.py",
    "test_checkpoint.py",
    "test_model_file.py",
]
# By parts of their names, for these measure nothing but memory, or how small a stack may be.
LEFT_OUT = ["released_memory", "memory_that_is_kept", "held_once", "takes_little_memory", "smallest_stacks"]


def run(budget, name):
    library, flags, settings = SANITIZERS[name]
    environment = {**preloaded(library), **settings}
    if not environment["LD_PRELOAD"]:
        return Findings(missing=f"gcc with {library} is needed")
    findings, tree = Findings(), build(flags)
    run_scenarios(budget, findings, tree, environment)
    run_tests(budget, findings, tree, FILES, environment, LEFT_OUT)
    return findings
