"""How a step with `preload` shares a warm process: with the steps whose environment is the same before imports."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline_queue.contract.settings import RESERVED_PREFIX
from pipeline_queue.model.pipeline import Step
from pipeline_queue.storage.submitted_environment import TERMINAL_VARIABLES

READ_AT_IMPORT = (
    "PYTHON", "LD_", "GLIBC_", "MALLOC_", "LANG", "LC_", "TZ", "HOME", "TMPDIR", "XDG_",
    "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "GOTO_", "BLIS_", "VECLIB_", "NUMEXPR_", "NUMBA_",
    "NPY_", "NUMPY_", "SCIPY_", "SKLEARN_", "JOBLIB_", "LOKY_", "MPL", "ARROW_", "POLARS_", "RAYON_",
    "CUDA_", "CUBLAS_", "NVIDIA_", "NCCL_", "HIP_", "ROCR_", "TORCH", "PYTORCH_", "TF_", "XLA_", "JAX_",
    "KERAS_", "HF_", "TRANSFORMERS_", "TOKENIZERS_",
)  # fmt: skip
"""How the variables begin that libraries are known to read once, while they are imported."""


def late_variables(step: Step, names: Iterable[str]) -> frozenset[str]:
    """Those of a step's environment that may differ between the forks of one warm process.

    They are ours, and those whose value holds an expression: each run of a sweep would have its own warm process. And
    what differs between the terminals from which sweeps are submitted.
    """
    varying = {name for name, template in step.env.items() if any(not isinstance(part, str) for part in template)}
    return frozenset(
        name
        for name in names
        if name.startswith(RESERVED_PREFIX)
        or (name in TERMINAL_VARIABLES and name not in step.env)
        or (name in varying and not name.startswith(READ_AT_IMPORT))
    )
