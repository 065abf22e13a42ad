// module.cpp -- torch_infotheory._C: registers the ops and binds the C++ API.
//
// torch.ops parses its arguments by the schema at every call, which takes longer than reducing
// sixty rows. The functions here are typed. They take all arguments of the op by position and
// return NotImplemented unless these are of plain types, in which case the caller uses torch.ops.
#include <ATen/PythonTorchFunctionTLS.h>
#include <torch/csrc/Dtype.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/autograd/python_variable.h>
#include <torch/headeronly/version.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "torch_infotheory/build.h"
#include "torch_infotheory/ops.h"

namespace torch_infotheory {
namespace {

// Owns one or several dimensions during a call.
struct Dims {
  c10::SmallVector<int64_t, 4> dims;
  operator IntArrayRef() const { return dims; }
};
template <class T>
using Storage = std::conditional_t<std::is_same_v<T, IntArrayRef>, Dims, T>;

// Each converts an argument and returns false unless it has the plain type. torch.ops handles the
// rest: subclasses of Tensor, symbols, numbers of other libraries, errors.
bool read(PyObject* x, Tensor& to) {
  if (!THPVariable_CheckExact(x)) return false;
  to = THPVariable_Unpack(x);
  return true;
}
bool read(PyObject* x, bool& to) {
  to = x == Py_True;
  return PyBool_Check(x);
}
bool read(PyObject* x, int64_t& to) {
  if (!PyLong_CheckExact(x)) return false;
  int overflow;
  to = PyLong_AsLongLongAndOverflow(x, &overflow);
  return !overflow;
}
bool read(PyObject* x, double& to) {
  if (int64_t whole; read(x, whole)) {
    to = double(whole);
    return true;
  }
  if (!PyFloat_CheckExact(x)) return false;
  to = PyFloat_AS_DOUBLE(x);
  return true;
}
bool read(PyObject* x, string_view& to) {
  if (!PyUnicode_CheckExact(x)) return false;
  Py_ssize_t size;
  const char* text = PyUnicode_AsUTF8AndSize(x, &size);
  if (!text) PyErr_Clear();
  to = text ? string_view(text, size) : string_view();
  return text;
}
bool read(PyObject* x, ScalarType& to) {
  if (!THPDtype_Check(x)) return false;
  to = reinterpret_cast<THPDtype*>(x)->scalar_type;
  return true;
}
bool read(PyObject* x, Dims& to) {
  int64_t dim;
  const auto add = [&](PyObject* item) {
    if (!read(item, dim)) return false;
    to.dims.push_back(dim);
    return true;
  };
  if (!PyTuple_CheckExact(x) && !PyList_CheckExact(x)) return add(x);
  PyObject** const items = PySequence_Fast_ITEMS(x);
  return std::all_of(items, items + PySequence_Fast_GET_SIZE(x), add);
}
template <class T>
bool read(PyObject* x, optional<T>& to) {
  return x == Py_None || read(x, to.emplace());
}

template <auto function, class Signature>
struct Binding;
template <auto function, class... X>
struct Binding<function, Tensor (*)(X...)> {
  static PyObject* call(PyObject*, PyObject* const* given, Py_ssize_t n) {
    if (n != sizeof...(X) || at::impl::torch_function_mode_enabled()) return fallback();
    return apply(given, std::index_sequence_for<X...>{});
  }

 private:
  template <size_t... i>
  static PyObject* apply(PyObject* const* given, std::index_sequence<i...>) {
    HANDLE_TH_ERRORS
    std::tuple<Storage<std::decay_t<X>>...> values;
    if (!(read(given[i], std::get<i>(values)) && ...)) return fallback();
    Tensor value;
    {
      const pybind11::gil_scoped_release release;
      value = function(std::get<i>(values)...);
    }
    return THPVariable_Wrap(std::move(value));
    END_HANDLE_TH_ERRORS
  }
  static PyObject* fallback() { Py_RETURN_NOTIMPLEMENTED; }
};

// _extension.py searches the file for this text before loading it, because loading the extension
// with another torch may crash the process.
__attribute__((used)) const char kCompiledFor[] =
    "torch_infotheory: compiled for torch " TORCH_VERSION;

PyObject* describe_build(PyObject*, PyObject*) {
  const Build b = build();
  return Py_BuildValue("{ssssssssssss}", "compiler", b.compiler.c_str(), "torch", b.torch.c_str(),
                       "instruction_sets", b.instruction_sets.c_str(), "instruction_set",
                       b.instruction_set.c_str(), "cuda", b.cuda.c_str(), "why_not_cuda",
                       b.why_not_cuda.c_str());
}

template <auto function>
PyMethodDef bound(const char* name) {
  auto* const call = &Binding<function, decltype(function)>::call;
  return {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call)), METH_FASTCALL,
          nullptr};
}
PyMethodDef functions[] = {
    bound<&self_information>("self_information"),
    bound<&entropy>("entropy"),
    bound<&cross_entropy>("cross_entropy"),
    bound<&kl_divergence>("kl_divergence"),
    bound<&js_divergence>("js_divergence"),
    bound<&perplexity>("perplexity"),
    bound<&jeffreys_divergence>("jeffreys_divergence"),
    bound<&js_distance>("js_distance"),
    bound<&squared_hellinger_distance>("squared_hellinger_distance"),
    bound<&hellinger_distance>("hellinger_distance"),
    bound<&bhattacharyya_coefficient>("bhattacharyya_coefficient"),
    bound<&total_variation_distance>("total_variation_distance"),
    bound<&chi_squared_divergence>("chi_squared_divergence"),
    bound<&renyi_entropy>("renyi_entropy"),
    bound<&tsallis_entropy>("tsallis_entropy"),
    bound<&renyi_divergence>("renyi_divergence"),
    bound<&alpha_divergence>("alpha_divergence"),
    bound<&mixture_divergence>("mixture_divergence"),
    bound<&joint_entropy>("joint_entropy"),
    bound<&conditional_entropy>("conditional_entropy"),
    bound<&mutual_information>("mutual_information"),
    bound<&pointwise_mutual_information>("pointwise_mutual_information"),
    bound<&variation_of_information>("variation_of_information"),
    bound<&conditional_mutual_information>("conditional_mutual_information"),
    bound<&normalized_mutual_information>("normalized_mutual_information"),
    bound<&lautum_information>("lautum_information"),
    bound<&positive_pointwise_mutual_information>("positive_pointwise_mutual_information"),
    bound<&binary_entropy>("binary_entropy"),
    bound<&cross_entropy_loss>("cross_entropy_loss"),
    bound<&nll_loss>("nll_loss"),
    bound<&kl_div>("kl_div"),
    bound<&entropy_loss>("entropy_loss"),
    bound<&js_div>("js_div"),
    bound<&linear_cross_entropy>("linear_cross_entropy"),
    bound<&linear_entropy>("linear_entropy"),
    bound<&linear_kl_div>("linear_kl_div"),
    bound<&linear_js_div>("linear_js_div"),
    bound<&distillation_loss>("distillation_loss"),
    bound<&kl_estimate>("kl_estimate"),
    {"_build", &describe_build, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace
}  // namespace torch_infotheory

PyMODINIT_FUNC PyInit__C() {
  static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_C", nullptr, -1,
                                   torch_infotheory::functions};
  return PyModule_Create(&definition);
}
