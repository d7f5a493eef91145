"""Which tests run with sanitizers: those of what is C, the most telling first."""

FILES = [
    "program/test_one.py", "program/test_train.py", "engine/test_hooks.py", "engine/test_slab.py",
    "program/test_scan_steps.py", "program/test_program_calls.py", "program/test_program.py", "engine/test_reentrancy.py",
    "program/test_train_places.py", "train/test_training_in_c.py", "program/test_scan_derivatives.py",
    "program/test_scan_files.py", "program/test_lanes.py", "program/test_lowering.py", "engine/test_memory.py",
    "program/test_share.py", "program/test_partial.py", "program/test_pickle.py", "program/test_function_file.py",
    "program/test_graph.py", "program/test_select.py", "program/test_several_outputs.py", "program/test_map.py",
    "program/test_low_level.py", "program/test_plan.py", "program/test_order.py", "program/test_latest.py",
    "program/test_vmath.py", "program/test_integers.py", "program/test_replaced.py", "program/test_scan.py",
    "program/test_compile.py", "program/test_arguments.py", "program/test_calculus.py", "program/test_deriving.py",
    "engine/test_contract.py", "engine/test_copying.py", "engine/test_custom.py", "engine/test_attributes.py",
    "engine/test_anomaly.py", "engine/test_no_grad.py", "engine/test_bad_input.py", "engine/test_wide.py",
    "engine/test_depth.py", "engine/test_students.py", "engine/test_conversions.py", "nn/test_module.py",
    "nn/test_nn.py", "nn/test_vector.py", "nn/test_layer_plan.py", "optim/test_optim_errors.py",
    "test_derivatives.py", "test_arrays.py", "test_trees.py", "test_checkpoint.py", "test_model_file.py",
]
# By their names, for these measure time, memory, or how the machine is asked for memory.
LEFT_OUT = ["flat", "resident", "huge"]
