// schemas.cpp -- defines the public ops, and overloads that reject arguments of Python functions.
#include "dispatch/schemas.h"

#include <torch/csrc/jit/frontend/function_schema_parser.h>

namespace torch_infotheory {
namespace {

using c10::Argument, c10::FunctionSchema;

void refuse_kinds(const c10::OperatorHandle& op, torch::jit::Stack*) {
  const FunctionSchema& schema = op.schema();
  const bool is_pair =
      schema.argumentIndexWithName("q_kind") || schema.argumentIndexWithName("target_kind");
  TORCH_CHECK_TYPE(false, op.operator_name().name, ": expected kind to be ",
                   "'probs', 'log_probs', 'logits' or 'counts', got several strings",
                   is_pair ? "; the op takes the second kind as " : "",
                   !is_pair                                 ? ""
                   : schema.argumentIndexWithName("q_kind") ? "q_kind"
                                                            : "target_kind");
}
void refuse_reduction(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const FunctionSchema& schema = op.schema();
  const auto& given = torch::jit::peek(*stack, *schema.argumentIndexWithName("reduction"),
                                       schema.arguments().size());
  TORCH_CHECK_TYPE(false, op.operator_name().name,
                   ": expected reduction to be 0 (none), 1 (mean) or 2 (sum)",
                   schema.name() == "torch_infotheory::kl_div" ? " or 3 (batchmean)" : "",
                   ", got '", given.toStringRef(), "'");
}

// Defines an overload with one argument of another type. The default that a positional argument
// needs after others with defaults is never used, because the op itself is matched first.
template <void (*refuse)(const c10::OperatorHandle&, torch::jit::Stack*)>
void define_refusal(torch::Library& m, const FunctionSchema& schema, const char* argument,
                    c10::TypePtr type) {
  const auto index = schema.argumentIndexWithName(argument);
  if (!index) return;
  std::vector<Argument> arguments = schema.arguments();
  const bool keyword = arguments[*index].kwarg_only();
  std::optional<c10::IValue> value;
  if (!keyword) value = "";
  arguments[*index] = Argument(argument, type, std::nullopt, value, keyword);
  const std::string overload = std::string("other_") + argument;
  m.def(FunctionSchema(schema.name(), overload, arguments, schema.returns()), kTags);
  m.impl((schema.name() + "." + overload).c_str(),
         torch::CppFunction::makeFromBoxedFunction<refuse>());
}

}  // namespace

void define(torch::Library& m, const std::string& schema) {
  m.def(schema.c_str(), kTags);
  const FunctionSchema parsed = torch::jit::parseSchema(schema);
  define_refusal<&refuse_kinds>(m, parsed, "kind", c10::ListType::ofStrings());
  define_refusal<&refuse_reduction>(m, parsed, "reduction", c10::StringType::get());
}

}  // namespace torch_infotheory
