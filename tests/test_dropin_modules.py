"""The loss modules: torch's own tests of modules, and what else a program does to one."""

import copy
import inspect
import io
import pickle
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from dropin import TOLERANCE, assert_same, assert_same_error, naming
from torch.autograd import gradcheck, gradgradcheck
from torch.testing._internal import common_nn
from torch.testing._internal.common_modules import ModuleErrorEnum, ModuleInfo, module_db
from torch.testing._internal.common_utils import TestCase

import torch_infotheory
from torch_infotheory import nn

FUNCTIONS = {"CrossEntropyLoss": "cross_entropy", "NLLLoss": "nll_loss", "KLDivLoss": "kl_div"}
NAMES = tuple(FUNCTIONS)
MODULES = [
    pytest.param(info, id=info.module_cls.__name__)
    for info in module_db
    if info.module_cls.__name__ in NAMES
]
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)

pytestmark = [
    pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning"),
    pytest.mark.filterwarnings("ignore:size_average and reduce:UserWarning"),
]


def module(name: str, *args: Any, **kwargs: Any) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Our module and torch's, made alike."""
    return getattr(nn, name)(*args, **kwargs), getattr(torch.nn, name)(*args, **kwargs)


def batch(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """An input and a target that the module takes."""
    torch.manual_seed(0)
    log_probs = torch.randn(5, 3).log_softmax(1)
    return log_probs, torch.rand(5, 3) if name == "KLDivLoss" else torch.tensor([0, 2, 1, 1, 0])


# torch.testing._internal.common_modules


def module_inputs(
    info: ModuleInfo, device: str, dtype: torch.dtype
) -> Iterator[tuple[str, torch.nn.Module, torch.nn.Module, list[torch.Tensor], Any]]:
    """Description, our module, torch's, the arguments of a call, and torch's reference."""
    torch.manual_seed(0)
    for case in info.module_inputs_func(info, device, dtype, requires_grad=True, training=True):
        made = case.constructor_input
        ours, theirs = module(info.module_cls.__name__, *made.args, **made.kwargs)
        arguments = [x.detach() for x in case.forward_input.args]
        if isinstance(ours, nn.KLDivLoss):
            # Torch draws logarithms of negative numbers and negative probabilities, that is, NaN.
            arguments = [
                arguments[0].nan_to_num(nan=-1.0, neginf=-1.0),
                arguments[1].nan_to_num(nan=1.0, neginf=1.0).abs(),
            ]
        yield case.desc, ours, theirs, arguments, case.reference_fn


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("info", MODULES)
def test_module_inputs_give_what_torch_gives(
    info: ModuleInfo, dtype: torch.dtype, device: str
) -> None:
    for name, ours, theirs, arguments, _ in module_inputs(info, device, dtype):
        for x in arguments:
            x.requires_grad_(x.is_floating_point())
        with naming(name):
            assert_same(ours, theirs, *arguments, exact=copy.deepcopy(theirs).double())


@pytest.mark.parametrize("info", MODULES)
def test_module_inputs_agree_with_torchs_reference(info: ModuleInfo, device: str) -> None:
    rtol, atol = TOLERANCE[torch.float64]
    for name, ours, _, arguments, reference in module_inputs(info, device, torch.float64):
        with naming(name):
            actual, expected = ours(*arguments), reference(ours, *arguments)
            torch.testing.assert_close(actual, expected, rtol=rtol, atol=atol, equal_nan=True)


@pytest.mark.parametrize("info", MODULES)
def test_derivatives_at_the_module_inputs(info: ModuleInfo, device: str) -> None:
    # Up to 600 logits: the fast mode of gradcheck compares random projections of the Jacobian.
    for name, ours, _, arguments, _ in module_inputs(info, device, torch.float64):
        for x in arguments:
            x.requires_grad_(x.is_floating_point())
        if ours(*arguments).isnan().any():
            assert name == "2d_ignore_index_mean"  # happens to ignore both of its targets
            continue
        with naming(name):
            gradcheck(ours, arguments, fast_mode=True, check_forward_ad=True)
            gradgradcheck(ours, arguments, fast_mode=True)


@pytest.mark.parametrize("info", [p for p in MODULES if p.values[0].module_error_inputs_func])
def test_module_error_inputs_raise_what_torch_raises(info: ModuleInfo, device: str) -> None:
    torch.manual_seed(0)
    for error in info.module_error_inputs_func(
        info, device, torch.float32, requires_grad=False, training=True
    ):
        assert error.error_on is ModuleErrorEnum.FORWARD_ERROR
        case = error.module_error_input
        made = case.constructor_input
        ours, theirs = module(info.module_cls.__name__, *made.args, **made.kwargs)
        with naming(error.error_regex):
            assert_same_error(ours, theirs, *case.forward_input.args)


# torch.testing._internal.common_nn


class CriterionCase(TestCase):
    """What torch's CriterionTest asks of the class that runs it."""

    def _forward_criterion(
        self, criterion: torch.nn.Module, input: Any, target: Any, extra_args: tuple = ()
    ) -> torch.Tensor:
        return criterion(input, target, *extra_args)


CRITERIA = [
    pytest.param(entry, id=entry["fullname"])
    for entry in common_nn.criterion_tests
    if entry["fullname"].startswith(NAMES)
]
FUNCTIONALS = [
    pytest.param(entry, id=entry["fullname"])
    for entry in common_nn.get_new_module_tests()
    if entry.get("fullname", "").startswith(("CrossEntropyLoss", "NLLLoss", "nlllossNd", "KLDiv"))
]


@pytest.fixture
def ours_in_common_nn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common_nn, "nn", nn)
    monkeypatch.setattr(common_nn, "F", nn.functional)


@pytest.mark.usefixtures("ours_in_common_nn")
@pytest.mark.parametrize("entry", CRITERIA)
def test_criterion(entry: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    # The entries come from loops over this global, which they read only now.
    monkeypatch.setattr(common_nn, "reduction", entry["fullname"].rpartition("_")[2])
    assert type(entry["constructor"]()).__module__.startswith(torch_infotheory.__name__)
    torch.manual_seed(0)
    double = {"default_dtype": torch.double}  # which some entries lack, and gradcheck needs
    common_nn.CriterionTest(**{**entry, **double})(CriterionCase())


@pytest.mark.usefixtures("ours_in_common_nn")
@pytest.mark.parametrize("entry", FUNCTIONALS)
def test_functional_entry(entry: dict[str, Any]) -> None:
    torch.manual_seed(0)
    input = entry["input"] if "input" in entry else entry["input_fn"]()
    input = input.double().requires_grad_()
    loss = entry["constructor"]()
    torch.testing.assert_close(loss(input), entry["reference_fn"](input))
    gradcheck(loss, input, fast_mode=True)
    gradgradcheck(loss, input, fast_mode=True)


def test_torch_still_has_entries_of_every_loss() -> None:
    assert {param.id for param in MODULES} == set(NAMES)
    assert len(CRITERIA) == 6 and len(FUNCTIONALS) >= 17


# What a program does to a module


@pytest.mark.parametrize("name", NAMES)
def test_ours_is_torchs_class_with_its_signature(name: str) -> None:
    ours, theirs = getattr(nn, name), getattr(torch.nn, name)
    assert issubclass(ours, theirs) and ours is not theirs
    assert ours.__constants__ == theirs.__constants__
    assert_signature(ours, theirs)


@pytest.mark.parametrize("name", FUNCTIONS.values())
def test_our_function_has_torchs_signature(name: str) -> None:
    assert_signature(getattr(nn.functional, name), getattr(torch.nn.functional, name))


def assert_signature(ours: Callable[..., Any], theirs: Callable[..., Any]) -> None:
    """That of torch, and a few keywords behind it."""
    parameters = list(inspect.signature(ours).parameters.values())
    expected = list(inspect.signature(theirs).parameters.values())
    shared, own = parameters[: len(expected)], parameters[len(expected) :]
    assert [(p.name, p.kind, p.default) for p in shared] == [
        (p.name, p.kind, p.default) for p in expected
    ]
    assert [p.name for p in own if p.name != "temperature"] == ["dtype", "validate"]
    assert all(p.kind is p.KEYWORD_ONLY for p in own)


OPTIONS: dict[str, dict[str, Any]] = {
    "CrossEntropyLoss": {
        "weight": torch.tensor([1.0, 2.0, 0.5]),
        "ignore_index": 1,
        "reduction": "sum",
        "label_smoothing": 0.1,
    },
    "NLLLoss": {"weight": torch.tensor([1.0, 2.0, 0.5]), "ignore_index": 1, "reduction": "none"},
    "KLDivLoss": {"reduction": "batchmean", "log_target": True},
    "EntropyLoss": {"dim": 0, "base": 2.0, "reduction": "none"},
    "JSDivLoss": {"dim": 0, "kind": ("logits", "probs"), "base": 2.0, "reduction": "sum"},
}


def loss_of(module: torch.nn.Module) -> torch.Tensor:
    name = type(module).__name__
    if name == "EntropyLoss":
        return module(batch("KLDivLoss")[0])
    return module(*batch("KLDivLoss" if name == "JSDivLoss" else name))


@pytest.mark.parametrize("dtype", [None, torch.float64], ids=str)
@pytest.mark.parametrize("name", OPTIONS)
def test_pickle_deepcopy_and_save(name: str, dtype: torch.dtype | None) -> None:
    module = getattr(nn, name)(**OPTIONS[name], dtype=dtype)
    saved = io.BytesIO()
    torch.save(module, saved)
    saved.seek(0)
    copies = (
        pickle.loads(pickle.dumps(module)),
        copy.deepcopy(module),
        copy.copy(module),
        torch.load(saved, weights_only=False),
    )
    for same in copies:
        assert type(same) is type(module) and repr(same) == repr(module)
        torch.testing.assert_close(loss_of(same), loss_of(module), rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_repr_and_state_are_torchs(name: str) -> None:
    ours, theirs = module(name, **OPTIONS[name])
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [n for n, _ in ours.named_buffers()] == [n for n, _ in theirs.named_buffers()]
    default, _ = module(name)
    assert default.state_dict() == {} and list(default.parameters()) == []
    assert repr(getattr(nn, name)(dtype=torch.float32)) == f"{name}(dtype=torch.float32)"


@pytest.mark.parametrize("name", ["CrossEntropyLoss", "NLLLoss"])
def test_state_moves_between_torchs_module_and_ours(name: str) -> None:
    ours, theirs = module(name, weight=torch.ones(3))
    theirs.weight.copy_(torch.tensor([1.0, 2.0, 3.0]))
    ours.load_state_dict(theirs.state_dict())
    assert ours.weight.tolist() == [1, 2, 3]
    assert ours.double().weight.dtype == torch.float64
    theirs.load_state_dict(ours.state_dict())


def test_repr_of_our_own_modules() -> None:
    assert repr(nn.EntropyLoss()) == "EntropyLoss(dim=-1, kind='logits', reduction='mean')"
    expected = "JSDivLoss(dim=-1, kind='logits', base=2, reduction='mean', weight=0.5)"
    assert repr(nn.JSDivLoss(base=2)) == expected
    assert "temperature=2.0" in repr(nn.EntropyLoss(temperature=2.0))


@pytest.mark.parametrize("name", ["EntropyLoss", "JSDivLoss"])
def test_our_own_modules_are_their_functions(name: str) -> None:
    function = {"EntropyLoss": nn.functional.entropy_loss, "JSDivLoss": nn.functional.js_div}[name]
    inputs = batch("KLDivLoss")[: 1 if name == "EntropyLoss" else 2]
    options = OPTIONS[name]
    torch.testing.assert_close(
        getattr(nn, name)(**options)(*inputs), function(*inputs, **options), rtol=0, atol=0
    )
    # The mask is of a call.
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "mask"]
    assert str(inspect.Signature(parameters[len(inputs) :])) == str(
        inspect.signature(getattr(nn, name)).replace(return_annotation=inspect.Signature.empty)
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "deprecated",
    [
        {"size_average": True},
        {"size_average": False},
        {"reduce": True},
        {"reduce": False},
        {"size_average": False, "reduce": False},
        {"size_average": True, "reduce": False, "reduction": "sum"},
        {"reduction": "elementwise_mean"},
    ],
    ids=str,
)
def test_deprecated_arguments_mean_and_warn_what_torchs_do(
    name: str, deprecated: dict[str, Any]
) -> None:
    input, target = batch(name)
    results, said = [], []
    for library in (nn, torch.nn):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            called = getattr(library.functional, FUNCTIONS[name])(input, target, **deprecated)
            results += [called, getattr(library, name)(**deprecated)(input, target)]
        said.append([(w.category, str(w.message)) for w in caught])
    assert said[0] == said[1] != []
    for ours, theirs in zip(results[:2], results[2:], strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("options", [{}, {"reduction": "sum"}], ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_compiled_function_is_one_graph(name: str, options: dict[str, Any]) -> None:
    function = getattr(nn.functional, FUNCTIONS[name])
    compiled = torch.compile(function, backend="eager", fullgraph=True)
    input, target = batch(name)
    torch.testing.assert_close(
        compiled(input, target, **options), function(input, target, **options)
    )


def test_the_warning_of_kl_div_names_the_line_that_calls_it() -> None:
    with pytest.warns(UserWarning, match="'batchmean' divides only by the batch size") as caught:
        nn.functional.kl_div(*batch("KLDivLoss"))
    assert caught[0].filename == __file__


class Tagged(torch.Tensor):
    """A subclass that records which functions it meets."""

    seen: list[Any] = []

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        cls.seen.append(func)
        return super().__torch_function__(func, types, args, kwargs or {})


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss", "kl_div", "entropy_loss", "js_div"])
def test_tensor_subclasses_override_the_function(name: str) -> None:
    function = getattr(nn.functional, name)
    input, target = batch("KLDivLoss" if name in ("kl_div", "js_div") else "NLLLoss")
    arguments = (input,) if name == "entropy_loss" else (input, target)
    Tagged.seen = []
    loss = function(input.as_subclass(Tagged), *arguments[1:])
    assert Tagged.seen[0] is function
    assert type(loss) is Tagged
    torch.testing.assert_close(loss.as_subclass(torch.Tensor), function(*arguments))


# `from torch_infotheory import nn` in place of `from torch import nn`


def test_every_other_name_is_torchs() -> None:
    ours = {*NAMES, "LinearCrossEntropyLoss", "functional", "modules"}
    for name in set(dir(torch.nn)) - ours:
        if not name.startswith("__"):
            assert getattr(nn, name) is getattr(torch.nn, name), name
    replaced = {"cross_entropy", "nll_loss", "kl_div", "linear_cross_entropy"}
    shared = {"Any", "TYPE_CHECKING", "warnings", "torch", "Tensor"}
    for name in set(dir(torch.nn.functional)) - replaced - shared:
        if not name.startswith("__"):
            assert getattr(nn.functional, name) is getattr(torch.nn.functional, name), name
    assert nn.modules.batchnorm is torch.nn.modules.batchnorm
    assert nn.modules.loss is torch.nn.modules.loss
    assert nn.modules.Linear is torch.nn.Linear


def test_names_are_looked_up_when_they_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    replaced = object()
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", replaced)
    assert nn.functional.scaled_dot_product_attention is replaced


def test_listing_and_star_import() -> None:
    assert {"CrossEntropyLoss", "EntropyLoss", "Linear", "functional"} <= set(dir(nn))
    assert {"cross_entropy", "js_div", "relu"} <= set(dir(nn.functional))
    names: dict[str, Any] = {}
    exec("from torch_infotheory.nn import *", names)  # brings our names alone
    assert names["CrossEntropyLoss"] is nn.CrossEntropyLoss
    assert "Linear" not in names
    exec("from torch_infotheory.nn.functional import *", names)
    assert names["cross_entropy"] is nn.functional.cross_entropy
    assert "relu" not in names


@pytest.mark.parametrize("library", [nn, nn.functional, nn.modules])
def test_an_unknown_name_is_an_attribute_error(library: Any) -> None:
    with pytest.raises(AttributeError, match="NoSuchLoss"):
        _ = library.NoSuchLoss


def test_a_program_with_the_import_swapped(device: str) -> None:
    """A classifier written against `nn` alone learns the same with either library."""
    curves = []
    for library in (nn, torch.nn):
        torch.manual_seed(0)
        model = library.Sequential(library.Linear(4, 8), library.Tanh(), library.Linear(8, 3))
        model, loss = model.to(device), library.CrossEntropyLoss(label_smoothing=0.1)
        x = torch.randn(32, 4, device=device)
        y = x[:, :3].argmax(1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        curve = []
        for _ in range(20):
            optimizer.zero_grad()
            value = loss(model(x), y)
            value.backward()
            optimizer.step()
            curve.append(value.item())
        curves.append(curve)
    assert curves[0] == pytest.approx(curves[1], abs=1e-5)
    assert curves[0][-1] < 0.8 * curves[0][0]
