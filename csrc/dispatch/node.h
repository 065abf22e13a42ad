// node.h -- base class of the autograd nodes: saved tensors, and replay under compiled autograd.
#pragma once
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/grad_mode.h>
#include <torch/csrc/dynamo/compiled_autograd.h>

#include <array>

#include "dispatch/compat.h"

namespace torch_infotheory {

using torch::autograd::SavedVariable;
using torch::autograd::variable_list;

// A saved tensor as an input of torch::autograd::grad within a backward pass. `requires_grad` is
// queried on a view, because after a level of torch.func has ended the saved tensor still refers to
// its graph.
inline at::Tensor differentiable_alias(const at::Tensor& saved, bool create_graph) {
  const at::Tensor view = saved.view_as(saved);
  return create_graph && view.requires_grad() ? view : saved.detach().requires_grad_();
}

// Self implements backward as a pure function,
//   static variable_list run(grads, std::array<Tensor, saved>, Options,
//                            std::array<bool, inputs> needed),
// and has a static constexpr bool is_traceable, whether `run` consists of ops only. Options has
// `fields()`.
template <class Self, class Options, size_t inputs_, size_t saved_>
struct FormulaNode : torch::autograd::Node {
  static constexpr size_t inputs = inputs_, saved = saved_;
  using Tensors = std::array<at::Tensor, saved>;
  using Needed = std::array<bool, inputs>;
  std::array<SavedVariable, saved> tensors;
  Options options;

  void save(const Tensors& values) {
    for (size_t i = 0; i < saved; ++i) tensors[i] = SavedVariable(values[i], /*is_output=*/false);
  }

  variable_list apply(variable_list&& g) override {
    std::lock_guard<std::mutex> lock(mutex_);
    Tensors values;
    for (size_t i = 0; i < saved; ++i) values[i] = tensors[i].unpack();
    Needed needed;
    for (size_t i = 0; i < inputs; ++i) needed[i] = task_should_compute_output(i);
    return Self::run(g, values, options, needed);
  }

  void release_variables() override {
    std::lock_guard<std::mutex> lock(mutex_);
    for (auto& t : tensors) t.reset_data();
  }

  void compiled_args(torch::dynamo::autograd::CompiledNodeArgs& args) const override {
    TORCH_CHECK_NOT_IMPLEMENTED(Self::is_traceable, name(),
                                ": compiled autograd has no second derivatives of this op; run "
                                "this backward without it");
    auto& self = const_cast<FormulaNode&>(*this);
    args.collect(std::string(typeid(Self).name()));
    for (auto& t : self.tensors) args.collect(t, /*is_output=*/false);
    std::apply([&](auto&... option) { (args.collect(option), ...); }, self.options.fields());
  }

  variable_list apply_with_saved(const variable_list& g,
                                 torch::dynamo::autograd::SwapSavedVariables& swap) override {
    using namespace torch::dynamo::autograd;
    for (auto& t : tensors) swap.before(t);
    PackedArgs packed;
    for (auto& t : tensors) packed.pack(t.unpack(getptr()));
    std::apply([&](auto&... option) { (packed.pack(option), ...); }, options.fields());
    for (size_t i = 0; i < inputs; ++i)
      packed.pack(i < num_outputs() && task_should_compute_output(i));
    auto arguments = packed.vec();
    std::vector<at::TypePtr> schema;
    for (const auto& a : arguments)
      schema.push_back(a.isTensor() ? at::TypePtr(at::TensorType::get()) : a.type());
    const auto edges =
        IValuePacker<std::vector<std::optional<torch::autograd::InputMetadata>>>::pack(
            torch::dynamo::autograd::get_input_metadata(next_edges()));
    const auto& compiler = getPyCompilerInterface();
    const std::string name = typeid(Self).name();
    const auto replay = compiler->bind_function(
        swap.get_py_compiler(), name,
        [](const variable_list& grads, const std::vector<c10::IValue>& values) {
          PackedArgs unpacked(values);
          Tensors saved_values;
          for (auto& t : saved_values) t = unpacked.unpack<at::Tensor>();
          Options opts;
          std::apply(
              [&](auto&... option) {
                ((option = unpacked.unpack<std::decay_t<decltype(option)>>()), ...);
              },
              opts.fields());
          Needed needed;
          for (auto& n : needed) n = unpacked.unpack<bool>();
          return Self::run(grads, saved_values, opts, needed);
        },
        schema, /*is_custom_function=*/true, /*is_traceable=*/true);
    auto out = compiler->call_function(swap.get_py_compiler(), "apply_functional", replay, g,
                                       arguments, edges);
    for (auto& t : tensors) swap.after(t);
    return out;
  }
};

}  // namespace torch_infotheory
