"""Who is who: module paths and parameter names, found out as training shows them.

Nothing needs to be handed over: a root is the outermost module on the stack when a node is made,
its tree gives paths and names, and a tensor of nobody's tree is looked up among the script's
globals. All references are weak, so that observing keeps nothing alive.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from headwater.records import ParameterInfo

_GLIMPSES = 256
_WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_forward_module.")


@dataclass(slots=True)
class _Root:
    module: Callable[[], nn.Module | None]
    type: str
    trains: bool
    paths: dict[int, str]
    types: dict[int, str]
    within: tuple[int, str] | None = None  # the root that it turned out to be a part of, and where


@dataclass(frozen=True, slots=True)
class _Slot:
    """Finds a module's parameter without a weak reference to it.

    Torch refuses to swap the contents of a tensor that has one, as ``model.to()`` does with
    parameters of some kinds.
    """

    module: Callable[[], nn.Module | None]
    name: str
    identity: int

    def __call__(self) -> Tensor | None:
        module = self.module()
        tensor = module._parameters.get(self.name) if module is not None else None
        return tensor if id(tensor) == self.identity else None


@dataclass(slots=True)
class _Known:
    """What is kept of a parameter; facts are filled in as they are seen."""

    tensor: Callable[[], Tensor | None]
    shape: tuple[int, ...] = ()
    dtype: str = ""
    requires_grad: bool = False
    name: str = ""
    root: int | None = None
    module: str = ""
    module_id: int = 0
    module_type: str = ""
    groups: int = 1
    optimiser: int | None = None
    got_gradient: bool = False
    device: str = ""

    def look(self, tensor: Tensor | None) -> None:
        """Take in what may change: lazy ones get a shape, frozen ones thaw, models are cast."""
        if tensor is not None:
            self.shape = () if is_lazy(tensor) else tuple(tensor.shape)
            self.dtype = str(tensor.dtype).removeprefix("torch.")
            self.requires_grad = tensor.requires_grad
            self.device = str(tensor.device)


@dataclass(slots=True)
class Names:
    """The modules and parameters of one observation.

    Attributes:
        parameters: in order of discovery; the index is the record's ``parameter``.
        called: ids of the modules that made a node while nodes were traced.
    """

    parameters: list[_Known] = field(default_factory=list)
    called: set[int] = field(default_factory=set)
    traced: bool = False
    changes: int = 0
    _roots: list[_Root] = field(default_factory=list)
    _root_of: dict[int, tuple[Callable[[], nn.Module | None], int]] = field(default_factory=dict)
    _index: dict[int, int] = field(default_factory=dict)
    _held: dict[int, int] = field(default_factory=dict)
    _glimpsed: dict[int, tuple[Callable[[], Tensor | None], int]] = field(default_factory=dict)

    def add_root(self, module: nn.Module) -> int:
        """Take in a module tree with its parameters, and return its number.

        A part of a known tree belongs to that one, even where the script calls the part itself.
        """
        known = self._root_of.get(id(module))
        if known is not None and known[0]() is module:
            return known[1]
        trains = any(parameter.requires_grad for parameter in module.parameters())
        self._roots.append(_Root(weakref.ref(module), type(module).__name__, trains, {}, {}))
        self._take_in(len(self._roots) - 1, module)
        return len(self._roots) - 1

    def _take_in(self, number: int, module: nn.Module) -> None:
        """Read a root's tree; again, when it has got a parameter that was not there before."""
        named = [(plain_path(path), child) for path, child in module.named_modules()]
        root = self._roots[number]
        root.paths = {id(child): path for path, child in named}
        root.types = {id(child): type(child).__name__ for _, child in named}
        self._claim(number, module)
        for known in self.parameters:
            if known.root == number and known.tensor() is None:
                known.requires_grad = False  # it was replaced, and misses no gradient
        for child in module.modules():
            for name, parameter in child.named_parameters(recurse=False):
                self._add_owned(parameter, number, child, name)
        self.changes += 1

    def _claim(self, number: int, module: nn.Module) -> None:
        """Make all modules of a tree its own; a smaller tree that is among them becomes a part."""
        paths = self._roots[number].paths
        for child in module.modules():
            known = self._root_of.get(id(child), (None, number))
            if known[1] != number and self._roots[known[1]].module() is child:
                self._roots[known[1]].within = (number, paths[id(child)])
            self._root_of[id(child)] = (weakref.ref(child), number)

    def _add_owned(self, parameter: Tensor, root: int, owner: nn.Module, name: str) -> None:
        index = self.add_parameter(parameter)
        known = self.parameters[index]
        if known.root is None:
            paths = self._roots[root].paths
            path = paths[id(owner)]
            if isinstance(owner._parameters, dict):  # a scripted module makes them anew
                known.tensor = _Slot(weakref.ref(owner), name, id(parameter))
            known.root, known.module, known.module_id = root, path, id(owner)
            known.module_type = type(owner).__name__
            groups = getattr(owner, "groups", 1)
            known.groups = groups if isinstance(groups, int) else 1
            known.name = f"{path}.{name}" if path else name

    def add_parameter(self, tensor: Tensor) -> int:
        """Return a parameter's index, giving it one if it is new."""
        index = self._index.get(id(tensor))
        if index is not None and self.parameters[index].tensor() is tensor:
            return index
        self.parameters.append(_Known(tensor=weakref.ref(tensor)))
        self.parameters[-1].look(tensor)
        self._index[id(tensor)] = len(self.parameters) - 1
        self.changes += 1
        return len(self.parameters) - 1

    def index_of_leaf(self, tensor: Tensor, moment: int | None) -> int | None:
        """Return the index of a graph's leaf, or None if it is no parameter but an input.

        A leaf that is neither a ``Parameter`` nor held by an optimiser or a module counts as a
        parameter from the second moment that it is seen at: a fresh input of every step never is.
        """
        index = self._index.get(id(tensor))
        if index is not None and self.parameters[index].tensor() is tensor:
            return index
        if isinstance(tensor, nn.Parameter):
            return self._adopted(tensor)
        seen = self._glimpsed.get(id(tensor))
        if seen is not None and seen[0]() is not tensor:
            seen = None
        again = seen is not None and moment not in (None, seen[1])
        if again or _global_name(tensor):
            return self.add_parameter(tensor)
        if len(self._glimpsed) >= _GLIMPSES:
            self._glimpsed.clear()
        if seen is None and moment is not None:
            self._glimpsed[id(tensor)] = (weakref.ref(tensor), moment)
        return None

    def _adopted(self, parameter: nn.Parameter) -> int:
        """Return the index of a new parameter, which a known module may have been given."""
        for number, root in enumerate(self._roots):
            module = root.module()
            if module is not None and any(each is parameter for each in module.parameters()):
                self._take_in(number, module)
                break
        return self.add_parameter(parameter)

    def add_optimiser(self, index: int, optimiser: torch.optim.Optimizer) -> None:
        """Note which parameters an optimiser holds; it may be given more later."""
        held = sum(len(group["params"]) for group in optimiser.param_groups)
        if self._held.get(index) == held:
            return
        self._held[index] = held
        for group in optimiser.param_groups:
            for tensor in group["params"]:
                self.parameters[self.add_parameter(tensor)].optimiser = index
        self.changes += 1

    @property
    def has_module(self) -> bool:
        """Whether a module that trains is known."""
        return any(root.trains for root in self._roots)

    def with_gradients(self) -> list[tuple[int, Tensor]]:
        """Return the parameters that hold a gradient, by index."""
        tensors = [known.tensor() for known in self.parameters]
        # Asked for its gradient, a tensor that is no leaf any more would print a warning.
        return [
            (i, t)
            for i, t in enumerate(tensors)
            if t is not None and t.is_leaf and t.grad is not None
        ]

    def held_by(self, optimiser: int) -> dict[int, Tensor]:
        """Return the parameters that an optimiser holds, by index."""
        known = enumerate(self.parameters)
        tensors = {i: p.tensor() for i, p in known if p.optimiser == optimiser}
        return {index: tensor for index, tensor in tensors.items() if tensor is not None}

    def path_of(self, module: nn.Module | None, root: nn.Module | None) -> tuple[int, str]:
        """Return (root number, path) of a module; (-1, "") where there is none."""
        if module is None or root is None:
            return -1, ""
        self.called.add(id(module))
        number = self.add_root(root)
        path = self._roots[number].paths.get(id(module))
        if path is None:  # made after its root was taken in
            path = next((plain_path(p) for p, m in root.named_modules() if m is module), "?")
            self._roots[number].paths[id(module)] = path
            self._roots[number].types[id(module)] = type(module).__name__
        return number, path

    def full_path(self, root: int, path: str) -> str:
        """Return a path as the record shows it; the root is named only if several train."""
        return self._placed(root, path, self._prefixes())

    def _placed(self, root: int, path: str, prefixes: Mapping[int, str]) -> str:
        within = self._roots[root].within
        if within is not None:
            return self._placed(within[0], _joined(within[1], path), prefixes)
        return _joined(prefixes.get(root, ""), path)

    def modules(self) -> tuple[dict[str, str], ...]:
        """Return path and type of every module, for ``run.json``."""
        prefixes = self._prefixes()
        return tuple(
            {"path": self._placed(number, path, prefixes), "type": root.types[module]}
            for number, root in enumerate(self._roots)
            if root.within is None
            for module, path in root.paths.items()
        )

    def tensors(self) -> dict[str, Tensor]:
        """Return all parameters that are still there, by the names of the record."""
        known = zip(self.parameter_infos(), self.parameters, strict=True)
        found = ((info.name, each.tensor()) for info, each in known)
        return {name: tensor.detach() for name, tensor in found if tensor is not None}

    def buffers(self) -> dict[str, Tensor]:
        """Return the buffers of all modules that are still there, named alike."""
        prefixes, roots = self._prefixes(), enumerate(self._roots)
        alive = [(n, root.module()) for n, root in roots if root.within is None]
        return {
            self._placed(number, plain_path(name), prefixes): buffer
            for number, module in alive
            if module is not None
            for name, buffer in module.named_buffers()
        }

    def devices(self) -> tuple[str, ...]:
        """Return the devices that hold parameters, or held those that are gone by now."""
        for known in self.parameters:
            known.look(known.tensor())
        return tuple(sorted({known.device for known in self.parameters if known.device}))

    def parameter_infos(self) -> tuple[ParameterInfo, ...]:
        """Return all parameters with the names and facts known by now."""
        prefixes = self._prefixes()
        infos = []
        for index, known in enumerate(self.parameters):
            tensor = known.tensor()
            known.look(tensor)
            name = known.name or (_global_name(tensor) if tensor is not None else "")
            root, path = known.root, known.module
            infos.append(
                ParameterInfo(
                    name=(self._placed(root, name, prefixes) if root is not None else name)
                    or f"parameter[{index}]",
                    shape=known.shape,
                    dtype=known.dtype,
                    requires_grad=known.requires_grad,
                    module=self._placed(root, path, prefixes) if root is not None else "",
                    module_type=known.module_type,
                    optimiser=known.optimiser,
                    module_called=known.module_id in self.called
                    if self.traced and root is not None
                    else None,
                    got_gradient=known.got_gradient,
                )
            )
        return tuple(infos)

    def _prefixes(self) -> dict[int, str]:
        own = [(number, root) for number, root in enumerate(self._roots) if root.within is None]
        for _, root in own:
            module = root.module()
            root.trains |= module is not None and any(p.requires_grad for p in module.parameters())
        training = [number for number, root in own if root.trains]
        prefixes: dict[int, str] = {}
        taken: dict[str, int] = {}
        for number, root in own:
            if root.trains and len(training) == 1:
                continue
            module = root.module()
            name = (_global_name(module) if module is not None else "") or root.type
            taken[name] = taken.get(name, 0) + 1
            prefixes[number] = name if taken[name] == 1 else f"{name}#{taken[name]}"
        return prefixes


def _joined(*parts: str) -> str:
    return ".".join(part for part in parts if part)


def plain_path(path: str) -> str:
    """Return a path without what wrappers add to it, as the record has it.

    Example:
        >>> plain_path("_orig_mod.net.0.weight"), plain_path("_orig_mod")
        ('net.0.weight', '')
    """
    for wrapper in _WRAPPERS:
        path = path.replace(wrapper, "")
    return path.removesuffix("._orig_mod") if path != "_orig_mod" else ""


def _global_name(thing: object) -> str:
    """Return what the script calls a thing at its top level, or ""."""
    main = sys.modules.get("__main__")
    names: Iterable[tuple[str, object]] = vars(main).items() if main is not None else ()
    return next((name for name, value in list(names) if value is thing), "")
