"""A device that every machine has: its tensors compute on the CPU, and refuse to meet the CPU's, as a GPU's do.

Inside `Accelerator`, whatever is moved to or made on the device `ACCELERATOR` becomes a `Held` tensor. An operator that
gets tensors of both devices fails, as does a conversion to NumPy, or a draw on the device with a generator of the CPU.
The exceptions are PyTorch's own: copies, scalars of the CPU, and indices of the CPU. Results equal those of the CPU up
to the order of sums, which PyTorch changes between devices for some layers.

It finds a forgotten `.to(device)`. It does not find operators or dtypes that a real device lacks (float64 on MPS), what
its kernels compute, races of copies from pinned memory, or a shortage of memory.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map

#: PyTorch knows this name everywhere; no other code of ours keeps tensors there.
ACCELERATOR = "meta"

_aten = torch.ops.aten
#: Operators whose second argument is a list of indices, which may be the CPU's.
_INDEXED = (
    _aten.index.Tensor,
    _aten._unsafe_index.Tensor,
    _aten.index_put.default,
    _aten.index_put_.default,
    _aten._index_put_impl_.default,
)


class Held(torch.Tensor):
    """A tensor on the accelerator."""

    #: PyTorch treats parameters without values specially; these have some.
    is_meta = False
    __torch_function__ = torch._C._disabled_torch_function_impl
    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> "Held":
        held = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=ACCELERATOR,
        )
        held.inner = inner
        return held

    @classmethod
    def __torch_dispatch__(
        cls, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        del types
        return _computed(func, args, dict(kwargs or {}))


class _Functions(TorchFunctionMode):
    """Route functions of PyTorch that are not operators to the accelerator."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        del types
        given = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and _is_accelerator(given.get("device")):
            device = given.pop("device")
            return func(*args, **given).to(device)
        if func is torch.Tensor.tolist and isinstance(args[0], Held):
            return args[0].inner.tolist()
        return func(*args, **given)


class Accelerator(TorchDispatchMode):
    """A context in which the accelerator exists."""

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        del types
        return _computed(func, args, dict(kwargs or {}))

    def __enter__(self) -> "Accelerator":
        self._functions = _Functions()
        self._functions.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._functions.__exit__(*error)


def _computed(func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Compute an operator on the CPU; its results are on the device where PyTorch would put them."""
    tensors = [each for each in tree_iter((args, kwargs)) if isinstance(each, torch.Tensor)]
    held = [tensor for tensor in tensors if isinstance(tensor, Held)]
    result_is_held = bool(held)
    if func is _aten.copy_.default:
        result_is_held = isinstance(args[0], Held)
    elif kwargs.get("device") is not None:
        result_is_held = _is_accelerator(kwargs["device"])
        kwargs["device"] = torch.device("cpu")
    elif held:
        _refuse_mixed(func, args, tensors)
    if result_is_held and kwargs.get("generator") is not None:
        raise RuntimeError(f"{func}: a generator of the CPU cannot draw on the accelerator")
    plain_args, plain_kwargs = tree_map(lambda each: each.inner if isinstance(each, Held) else each, (args, kwargs))
    result = func(*plain_args, **plain_kwargs)
    if not result_is_held:
        return result
    same = {id(tensor.inner): tensor for tensor in held}  # An operator in place returns its argument.

    def wrapped(each: Any) -> Any:
        if not isinstance(each, torch.Tensor):
            return each
        return same[id(each)] if id(each) in same else Held(each)

    return tree_map(wrapped, result)


def _refuse_mixed(func: Callable[..., Any], args: Sequence[Any], tensors: Iterable[torch.Tensor]) -> None:
    indices = args[1] if func in _INDEXED else ()
    others = [
        tensor
        for tensor in tensors
        if not isinstance(tensor, Held) and tensor.dim() > 0 and not any(tensor is index for index in indices)
    ]
    if others or not any(isinstance(tensor, Held) for tensor in tensors if not any(tensor is i for i in indices)):
        raise RuntimeError(f"{func}: tensors of the CPU meet tensors of the accelerator")


def _is_accelerator(device: Any) -> bool:
    return device is not None and torch.device(device).type == ACCELERATOR
