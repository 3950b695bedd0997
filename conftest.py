"""How tests and the examples in docstrings are compiled, before JAX is imported.

Nearly all time of a test goes into compiling a program that runs once, so XLA is asked not to
optimize. Set `XLA_FLAGS` to run the suite with other flags, such as those of a user (none).
"""

import os

os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0 "
    "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1",
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
