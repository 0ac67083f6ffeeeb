"""A training put back as it was: tensors in place, param groups, optimizer state, module attributes, random states."""

from __future__ import annotations

import random
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, cast, final

import numpy as np
import torch
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from tempomat.core import BindingError

_PLAIN_TENSORS = (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer)


@final
class Kept:
    """Copies of what training changes, and the way back, as often as wanted.

    Tensors are put back in place, so that whoever holds one holds the right values; dicts, lists, deques and sets get
    back their items, in order; random generators their states. Modules and optimizers are looked into, attribute by
    attribute. Anything else is kept by reference alone. Costs the memory of one more copy of every tensor.

    Args:
        objects: modules, optimizers, tensors, containers of them, random generators.

    Raises:
        BindingError: a lazy module has no parameters yet.
    """

    def __init__(self, *objects: Any) -> None:
        self._back: list[Callable[[], object]] = []
        self._seen: dict[int, Any] = {}  # the objects too: an id is one object's only while that lives
        for one in objects:
            self.add(one)

    def add(self, one: Any) -> None:
        """Keep one more object and what is in it, if it has not been met yet."""
        if id(one) in self._seen:
            return
        self._seen[id(one)] = one
        if isinstance(one, torch.Tensor):
            self._add_tensor(one)
        elif isinstance(one, (torch.nn.Module, Optimizer)):
            self.add(vars(one))
        elif isinstance(one, dict):
            self._add_dict(cast(dict[Any, Any], one))
        elif isinstance(one, (list, deque, set)):
            items = list(cast(Iterable[Any], one))
            self._back.append(partial(_refill, one, items))
            self._add_all(items)
        elif isinstance(one, tuple):
            self._add_all(cast(tuple[Any, ...], one))
        else:
            self.add_generator(one)

    def add_attributes(self, one: Any, *, but: Iterable[str] = ()) -> None:
        """Keep an object's own attributes and what is in them, except what these names hold; of a data set only the
        random generators.
        """
        held = vars(one)
        if isinstance(one, torch.utils.data.Dataset):
            for value in held.values():
                self.add_generator(value)
            return
        self._back.append(partial(_refill_dict, held, dict(held)))
        self._add_all(value for name, value in held.items() if name not in but)

    def add_generator(self, one: Any) -> bool:
        """Keep a random generator's state; whether it is one."""
        if isinstance(one, torch.Generator):
            self._back.append(partial(one.set_state, one.get_state().clone()))
        elif isinstance(one, np.random.Generator):
            self._back.append(partial(setattr, one.bit_generator, "state", one.bit_generator.state))
        elif isinstance(one, np.random.RandomState):
            self._back.append(partial(one.set_state, one.get_state()))
        elif isinstance(one, random.Random):
            self._back.append(partial(one.setstate, one.getstate()))
        else:
            return False
        return True

    def add_global_randomness(self) -> None:
        """Keep Python's, NumPy's and PyTorch's global random states, on every device that is in use."""
        self._back.append(partial(random.setstate, random.getstate()))
        self._back.append(partial(np.random.set_state, np.random.get_state()))  # noqa: NPY002  whoever uses it
        self._back.append(partial(torch.set_rng_state, torch.get_rng_state()))
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            self._back.append(partial(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
        if torch.backends.mps.is_available():
            self._back.append(partial(torch.mps.set_rng_state, torch.mps.get_rng_state()))

    def add_state(self, one: Any) -> None:
        """Keep anything with a `state_dict` and a `load_state_dict`, such as a gradient scaler."""
        state = Kept._copied(one.state_dict())
        # a holder may take the state it is given for its own, and change it
        self._back.append(lambda: one.load_state_dict(Kept._copied(state)))

    def on_restore(self, back: Callable[[], object]) -> None:
        """One more thing to do on the way back, after all that was added before it."""
        self._back.append(back)

    def restore(self) -> None:
        """Put everything back. What fails stops nothing else; the first error is raised at the end."""
        errors: list[Exception] = []
        for back in self._back:
            try:
                back()
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _add_all(self, items: Iterable[Any]) -> None:
        for one in items:
            self.add(one)

    def _add_dict(self, one: dict[Any, Any]) -> None:
        items = dict(one)
        self._back.append(partial(_refill_dict, one, items))
        self._add_all(items.values())

    def _add_tensor(self, tensor: torch.Tensor) -> None:
        if is_lazy(tensor):
            raise BindingError(
                "a lazy module has parameters without a shape, which cannot be kept. Run one batch through it first"
            )
        held = tensor.detach()  # the same storage, whatever becomes of `tensor.data`
        grad, needs_grad = (tensor.grad, tensor.requires_grad) if tensor.is_leaf else (None, False)
        self._back.append(partial(_put_back, tensor, held, _own_memory(held).clone(), grad, needs_grad))
        if grad is not None:
            self.add(grad)

    @staticmethod
    def _copied(state: Any) -> Any:
        if isinstance(state, torch.Tensor):
            return state.detach().clone()
        if isinstance(state, dict):
            return {key: Kept._copied(value) for key, value in cast(dict[Any, Any], state).items()}
        if isinstance(state, (list, tuple)):
            return type(state)(Kept._copied(value) for value in cast(list[Any], state))
        return state


@final
class Interrupts:
    """Ctrl-C put off while something has to be done whole. Only a main thread is interrupted at all."""

    def __init__(self) -> None:
        self._before: Any = None
        self._held = False
        self._came: list[Any] = []

    def hold(self) -> None:
        """From now on one waits; holding twice is holding once."""
        if not self._held and threading.current_thread() is threading.main_thread():
            self._before = signal.getsignal(signal.SIGINT)
            if self._before is not None:  # None: somebody outside Python has it
                signal.signal(signal.SIGINT, lambda _, frame: self._came.append(frame))
                self._held = True

    def release(self) -> None:
        """As it was before; one that waited comes now."""
        if not self._held:
            return
        signal.signal(signal.SIGINT, self._before)
        self._held = False
        if self._came:
            frame, self._came = self._came[-1], []
            if callable(self._before):
                self._before(signal.SIGINT, frame)


def _own_memory(tensor: torch.Tensor) -> torch.Tensor:
    """The part of a tensor that it holds itself: of a row repeated by `expand`, one."""
    if tensor.layout is not torch.strided:
        return tensor
    for dim, (size, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        if stride == 0 and size > 1:
            tensor = tensor.narrow(dim, 0, 1)
    return tensor


def _put_back(
    tensor: torch.Tensor, held: torch.Tensor, copy: torch.Tensor, grad: torch.Tensor | None, needs_grad: bool
) -> None:
    plain = type(tensor) in _PLAIN_TENSORS and tensor.layout is torch.strided
    if plain and (tensor.data_ptr() != held.data_ptr() or tensor.shape != held.shape):
        tensor.data = held
    with torch.no_grad():
        _own_memory(held).copy_(copy)
    if tensor.is_leaf:
        tensor.grad = grad
        if tensor.requires_grad != needs_grad:
            tensor.requires_grad_(needs_grad)


def _refill_dict(holder: dict[Any, Any], items: dict[Any, Any]) -> None:
    if [id(key) for key in holder] != [id(key) for key in items]:  # keys may be tensors, which have no one equality
        holder.clear()
    for key, value in items.items():
        if key not in holder or holder[key] is not value:
            holder[key] = value


def _refill(holder: Any, items: list[Any]) -> None:
    if isinstance(holder, list):
        holder[:] = items
        return
    holder.clear()
    holder.update(items) if isinstance(holder, set) else holder.extend(items)
