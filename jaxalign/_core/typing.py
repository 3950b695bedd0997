"""Shape annotations such as `Float[Array, "n p"]`, with or without jaxtyping.

With jaxtyping installed the annotations are its own and can be checked at run
time (the test suite does so). Without it they are documentation: each one
stands for the array type alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jax import Array as Array

if TYPE_CHECKING:
    from typing import Annotated as Bool
    from typing import Annotated as Float
    from typing import Annotated as Int
else:
    try:
        from jaxtyping import Bool as Bool
        from jaxtyping import Float as Float
        from jaxtyping import Int as Int
    except ImportError:

        class _Annotation:
            """Stands for its first argument: `Float[Array, "n p"]` is `Array`."""

            def __class_getitem__(cls, item: tuple[Any, str]) -> Any:
                return item[0]

        Bool = Float = Int = _Annotation

Scalar = Float[Array, ""]
